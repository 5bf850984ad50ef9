"""Actions of staff on users: sign out everywhere, deactivate, reactivate, mail a reset link, unlock."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext, ngettext_lazy

from accounts import ending, passwords
from accounts.admin import confirm
from accounts.admin.sign_ins import ended_text
from accounts.http import request_context
from accounts.models import AttemptCounter, SignIn, User, UserQuerySet

# An action runs one transaction for each user, within one request.
MAX_USERS_PER_ACTION = 500
MAX_USERNAMES_SHOWN = 20


@admin.action(description=_("Sign out everywhere"), permissions=["end"])
def end_all_sign_ins(model_admin: admin.ModelAdmin, request: HttpRequest, users: UserQuerySet) -> HttpResponse | None:
    return confirm_and_run(
        model_admin,
        request,
        users.with_live_sign_ins(),
        run=_end_all_sign_ins,
        effects=_effects_of_end,
        title=ngettext_lazy("Sign this user out everywhere?", "Sign these users out everywhere?"),
        button=ngettext_lazy("Sign out user", "Sign out users"),
    )


def _end_all_sign_ins(request: HttpRequest, users: list[User]) -> str:
    return ended_text(sum(ending.end_all(user, SignIn.Reason.ENDED_BY_STAFF) for user in users))


def _effects_of_end(users: list[User]) -> confirm.Effects:
    count_of_kind = SignIn.objects.unended().filter(user__in=users).by_kind()
    browsers, clients, keys = (count_of_kind.get(kind, 0) for kind in SignIn.Kind)
    return [
        (ngettext("user is signed out everywhere", "users are signed out everywhere", len(users)), len(users)),
        (ngettext("browser session is revoked", "browser sessions are revoked", browsers), browsers),
        (
            ngettext(
                "client has its access and refresh tokens revoked",
                "clients have their access and refresh tokens revoked",
                clients,
            ),
            clients,
        ),
        (ngettext("API key is refused", "API keys are refused", keys), keys),
    ]


@admin.action(description=_("Deactivate account"), permissions=["deactivate"])
def deactivate(model_admin: admin.ModelAdmin, request: HttpRequest, users: UserQuerySet) -> HttpResponse | None:
    return confirm_and_run(
        model_admin,
        request,
        # Staff members cannot deactivate their own account.
        users.filter(is_active=True).exclude(pk=request.user.pk),
        run=_deactivate,
        effects=_effects_of_deactivation,
        title=ngettext_lazy("Deactivate account?", "Deactivate accounts?"),
        button=ngettext_lazy("Deactivate this account", "Deactivate accounts"),
    )


def _deactivate(request: HttpRequest, users: list[User]) -> str:
    changed = _still_manageable(request, users).update(is_active=False)
    return ngettext("%d account deactivated.", "%d accounts deactivated.", changed) % changed


def _effects_of_deactivation(users: list[User]) -> confirm.Effects:
    accounts = len(users)
    sign_ins = SignIn.objects.unended().filter(user__in=users).count()
    return [
        (ngettext("account can no longer sign in", "accounts can no longer sign in", accounts), accounts),
        (ngettext("sign-in ends at once", "sign-ins end at once", sign_ins), sign_ins),
    ]


@admin.action(description=_("Reactivate account"), permissions=["deactivate"])
def reactivate(model_admin: admin.ModelAdmin, request: HttpRequest, users: UserQuerySet) -> HttpResponse | None:
    return confirm_and_run(
        model_admin,
        request,
        users.filter(is_active=False),
        run=_reactivate,
        effects=_effects_of_reactivation,
        title=ngettext_lazy("Reactivate account?", "Reactivate accounts?"),
        button=ngettext_lazy("Reactivate this account", "Reactivate accounts"),
    )


def _reactivate(request: HttpRequest, users: list[User]) -> str:
    changed = _still_manageable(request, users).update(is_active=True)
    return ngettext("%d account reactivated.", "%d accounts reactivated.", changed) % changed


def _effects_of_reactivation(users: list[User]) -> confirm.Effects:
    text = ngettext(
        "account can sign in again with its current password",
        "accounts can sign in again with their current passwords",
        len(users),
    )
    return [(text, len(users))]


@admin.action(description=_("Send password reset link"), permissions=["reset"])
def send_password_reset(
    model_admin: admin.ModelAdmin, request: HttpRequest, users: UserQuerySet
) -> HttpResponse | None:
    return confirm_and_run(
        model_admin,
        request,
        users.with_resettable_password(),
        run=_send_password_reset,
        effects=_effects_of_reset,
        title=ngettext_lazy("Send password reset link?", "Send password reset links?"),
        button=ngettext_lazy("Send link", "Send links"),
        form_class=confirm.Confirmation,
    )


def _send_password_reset(request: HttpRequest, users: list[User]) -> str:
    for user in users:
        passwords.send_reset(user)
    return ngettext("%d e-mail is being sent.", "%d e-mails are being sent.", len(users)) % len(users)


def _effects_of_reset(users: list[User]) -> confirm.Effects:
    text = ngettext(
        "user receives an e-mail with a link that works once, for an hour",
        "users receive an e-mail with a link that works once, for an hour",
        len(users),
    )
    return [(text, len(users))]


@admin.action(description=_("Unlock account"), permissions=["unlock"])
def unlock(model_admin: admin.ModelAdmin, request: HttpRequest, users: UserQuerySet) -> HttpResponse | None:
    return confirm_and_run(
        model_admin,
        request,
        users,
        run=_unlock,
        effects=_effects_of_unlock,
        title=ngettext_lazy("Unlock account?", "Unlock accounts?"),
        button=ngettext_lazy("Unlock this account", "Unlock accounts"),
    )


def _unlock(request: HttpRequest, users: list[User]) -> str:
    lifted = sum(AttemptCounter.objects.of(user).lift() for user in users)
    return ngettext("%d lock removed.", "%d locks removed.", lifted) % lifted


def _effects_of_unlock(users: list[User]) -> confirm.Effects:
    per_account = [AttemptCounter.objects.of(user).locked_out().count() for user in users]
    accounts, locks = sum(map(bool, per_account)), sum(per_account)
    return [
        (ngettext("account can sign in again at once", "accounts can sign in again at once", accounts), accounts),
        (ngettext("lock is removed", "locks are removed", locks), locks),
    ]


def _still_manageable(request: HttpRequest, users: list[User]) -> UserQuerySet:
    """The users without those who became superusers after they were read."""
    queryset: UserQuerySet = User.objects.manageable_by(request.user).filter(pk__in=[user.pk for user in users])
    return queryset


def confirm_and_run(
    model_admin: admin.ModelAdmin,
    request: HttpRequest,
    users: UserQuerySet,
    *,
    run: Callable[[HttpRequest, list[User]], str],
    effects: Callable[[list[User]], confirm.Effects],
    title: Any,
    button: Any,
    form_class: type[confirm.Confirmation] = confirm.ConfirmationWithReason,
    notes: Sequence[Any] = (),
) -> HttpResponse | None:
    """
    Runs the action on those of the users that the staff member may manage, and shows the message that `run` returns.
    Before the confirmation: returns the confirmation page. `title` and `button` are lazy plurals.
    """
    manageable = list(users.manageable_by(request.user).order_by("pk")[: MAX_USERS_PER_ACTION + 1])
    if len(manageable) > MAX_USERS_PER_ACTION:
        text = _("Select at most %d users.") % MAX_USERS_PER_ACTION
        model_admin.message_user(request, text, messages.ERROR)
        return None
    form = form_class(request)
    if form.is_confirmed:
        with request_context.acting(form.cleaned_data.get("why", "")):
            text = run(request, manageable)
        model_admin.message_user(request, text, messages.SUCCESS)
        return None
    all_notes: list[Any] = [_usernames(manageable), *notes]
    if not request.user.is_superuser and users.filter(is_superuser=True).exists():
        all_notes.append(_("Selected superusers are not changed: only superusers can change them."))
    return confirm.page(
        model_admin,
        request,
        form,
        title=title % len(manageable),
        button=button % len(manageable),
        effects=effects(manageable),
        notes=all_notes,
    )


def _usernames(users: list[User]) -> str:
    names = ", ".join(user.username for user in users[:MAX_USERNAMES_SHOWN])
    return f"{names} …" if len(users) > MAX_USERNAMES_SHOWN else names
