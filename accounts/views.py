from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth import views as auth_views
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import RedirectURLMixin, redirect_to_login
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView, ListView, TemplateView, UpdateView, View

from accounts import forms, locks
from accounts.models import AccountChanged, SecurityEvent, SignIn, SignInQuerySet, SignInRefused, User
from accounts.policy import CLEAR_SITE_DATA
from accounts.sessions import BrowserRequest, SignedInRequest

ENDED_SHOWN_FOR = timedelta(days=30)
ENDED_SHOWN = 15
EVENTS_ON_HOME = 5
SIGN_INS_ON_HOME = 3


class HomeView(TemplateView):
    request: BrowserRequest
    template_name = "home.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        sign_in = self.request.session.sign_in
        if sign_in:
            sign_ins = SignIn.objects.filter(user=sign_in.user).live()
            context |= {
                "number": sign_ins.count(),
                "sign_ins": sign_ins.current_first(sign_in)[:SIGN_INS_ON_HOME],
                "events": SecurityEvent.objects.filter(user=sign_in.user)[:EVENTS_ON_HOME],
            }
        return context


# In and out


class SignInView(auth_views.LoginView):
    request: BrowserRequest
    form_class = forms.SignInForm
    template_name = "accounts/login.html"

    def form_valid(self, form: forms.SignInForm) -> HttpResponse:
        try:
            login(self.request, form.get_user())
        except SignInRefused:
            form.add_error(None, form.get_invalid_login_error())
            return self.form_invalid(form)
        if form.cleaned_data["keep"]:
            self.request.session.keep()
        return redirect(self.get_success_url())


def leave(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    """Ends the session, and shows a last page."""
    logout(request)
    response = render(request, template, context)
    response["Clear-Site-Data"] = CLEAR_SITE_DATA
    return response


class SignOutView(View):
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponse:
        return leave(request, "accounts/logged_out.html")


@method_decorator(sensitive_post_parameters("password1", "password2"), name="dispatch")
class SignUpView(FormView):
    form_class = forms.SignUpForm
    template_name = "accounts/signup.html"
    success_url = reverse_lazy("home")

    def form_valid(self, form: forms.SignUpForm) -> HttpResponse:
        try:
            user = form.save()
        except ValidationError as error:
            form.add_error(None, error)
            return self.form_invalid(form)
        login(self.request, user)
        messages.success(self.request, _("Welcome, %(name)s.") % {"name": user.username})
        return super().form_valid(form)


class RecentProofMixin(LoginRequiredMixin):
    """For what matters most: asks for the password first, if it was not given just now, and comes back."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        sign_in: SignIn | None = request.session.sign_in  # type: ignore[attr-defined]
        if sign_in and not sign_in.is_recently_proved():
            return redirect_to_login(request.get_full_path(), reverse("confirm"))
        return super().dispatch(request, *args, **kwargs)


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class ConfirmView(LoginRequiredMixin, RedirectURLMixin, FormView):
    """Asks for the password once more, and goes on to where one was."""

    request: SignedInRequest
    form_class = forms.ProofForm
    template_name = "accounts/confirm.html"
    next_page = "home"

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"next": self.get_redirect_url()}

    def form_valid(self, form: forms.ProofForm) -> HttpResponse:
        self.request.session.sign_in.note_proof()  # type: ignore[union-attr]
        # Whoever proves again goes on with a new key (ASVS 7.2.4).
        self.request.session.cycle_key()
        return super().form_valid(form)


# The account


class ProfileView(LoginRequiredMixin, UpdateView):
    request: SignedInRequest
    form_class = forms.ProfileForm
    template_name = "accounts/profile.html"
    success_url = reverse_lazy("profile")

    def get_object(self, queryset: QuerySet[User] | None = None) -> User:
        return self.request.user

    def form_valid(self, form: forms.ProfileForm) -> HttpResponse:
        messages.success(self.request, _("Saved."))
        return super().form_valid(form)


class PasswordChangeView(auth_views.PasswordChangeView):
    """The old password is in the form, so it is not asked for before."""

    request: SignedInRequest
    form_class = forms.PasswordChangeForm
    template_name = "accounts/password_change.html"
    success_url = reverse_lazy("password_change_done")

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}

    def form_valid(self, form: forms.PasswordChangeForm) -> HttpResponse:
        try:
            response = super().form_valid(form)
        except locks.Locked as error:
            form.add_error(None, error)
            return self.form_invalid(form)
        locks.remember(self.request, form.user)
        return response


class PasswordResetView(auth_views.PasswordResetView):
    form_class = forms.PasswordResetForm  # type: ignore[assignment]
    template_name = "accounts/password_reset.html"


class LinkView(FormView):
    """
    Where a link from a mail leads to. It is used up by the form's button, since scanners of mail follow links. The form
    is sent to the link's own address, which the page tells to nobody; nothing of it is stored in the session.
    """

    def find_user(self) -> User | None:
        raise NotImplementedError

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.user = self.find_user()
        response = super().dispatch(request, *args, **kwargs) if self.user else self.not_valid()
        # Not "no-referrer": with that, browsers send the form from the origin "null", which is refused.
        response["Referrer-Policy"] = "strict-origin"
        return response

    def not_valid(self) -> HttpResponse:
        return self.render_to_response({"form": None}, status=400)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"owner": self.user}


@method_decorator(sensitive_post_parameters("new_password1", "new_password2"), name="dispatch")
class PasswordResetConfirmView(LinkView):
    form_class = forms.SetPasswordForm
    template_name = "accounts/password_reset_confirm.html"
    success_url = reverse_lazy("password_reset_complete")

    def find_user(self) -> User | None:
        return User.objects.by_reset_link(self.kwargs["uidb64"], self.kwargs["token"])

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"user": self.user}

    def form_valid(self, form: forms.SetPasswordForm) -> HttpResponse:
        try:
            form.save()
        except locks.Locked as error:
            form.add_error(None, error)
            return self.form_invalid(form)
        # A way in for whom strangers have locked out elsewhere.
        locks.remember(self.request, form.user)
        return super().form_valid(form)


class EmailChangeView(RecentProofMixin, FormView):
    request: SignedInRequest
    form_class = forms.EmailChangeForm
    template_name = "accounts/email_change.html"
    success_url = reverse_lazy("profile")

    def form_valid(self, form: forms.EmailChangeForm) -> HttpResponse:
        new_email = form.cleaned_data["new_email"]
        try:
            self.request.user.ask_email_change(new_email)
        except ValidationError as error:
            form.add_error("new_email", error)
            return self.form_invalid(form)
        text = _("We are sending a link to %(address)s. Your e-mail address changes when you open the link.")
        messages.success(self.request, text % {"address": new_email})
        return super().form_valid(form)


class AskConfirmationView(LoginRequiredMixin, View):
    """Sends the link to the address that is to be confirmed once more."""

    def post(self, request: SignedInRequest) -> HttpResponse:
        if address := request.user.address_to_confirm:
            request.user.ask_confirmation()
            messages.success(request, _("We are sending a link to %(address)s.") % {"address": address})
        return redirect("profile")


class CancelEmailChangeView(LoginRequiredMixin, TemplateView):
    request: SignedInRequest
    template_name = "accounts/email_cancel.html"

    def post(self, request: SignedInRequest) -> HttpResponse:
        if request.user.cancel_email_change():
            messages.success(request, _("The change was cancelled. Your e-mail address stays the same."))
        return redirect("profile")


class EmailConfirmView(LinkView):
    form_class = Form
    template_name = "accounts/email_confirm.html"

    def find_user(self) -> User | None:
        return User.objects.by_confirmation_link(self.kwargs["uidb64"], self.kwargs["token"])

    def not_valid(self) -> HttpResponse:
        """To a person who follows a genuine link once more: that all is well. No other link tells of an address."""
        if user := User.objects.by_used_confirmation_link(self.kwargs["uidb64"], self.kwargs["token"]):
            return render(self.request, "accounts/email_confirmed.html", {"address": user.email, "already": True})
        return super().not_valid()

    def form_valid(self, form: Form) -> HttpResponse:
        try:
            user = User.objects.confirm_email(self.kwargs["uidb64"], self.kwargs["token"])
        except AccountChanged:
            return self.not_valid()
        return render(self.request, "accounts/email_confirmed.html", {"address": user.email, "already": False})


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class DeleteAccountView(LoginRequiredMixin, FormView):
    request: SignedInRequest
    form_class = forms.ProofForm
    template_name = "accounts/delete.html"

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}

    def form_valid(self, form: forms.ProofForm) -> HttpResponse:
        self.request.user.delete()
        return leave(self.request, "accounts/deleted.html")


# Where one is signed in


class SignInListView(LoginRequiredMixin, ListView):
    request: SignedInRequest
    template_name = "accounts/sign_ins.html"
    context_object_name = "sign_ins"
    paginate_by = 25

    def get_queryset(self) -> SignInQuerySet:
        own = SignIn.objects.filter(user=self.request.user)
        return own.live().current_first(self.request.session.sign_in)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        ended = self.request.user.sign_ins.over_since(timezone.now() - ENDED_SHOWN_FOR)
        return context | {
            "others": context["paginator"].count - 1,
            "ended": ended[:ENDED_SHOWN],
        }


class RenameSignInView(LoginRequiredMixin, UpdateView):
    request: SignedInRequest
    context_object_name = "sign_in"
    form_class = forms.NameForm
    template_name = "accounts/sign_in_name.html"

    def get_queryset(self) -> SignInQuerySet:
        return SignIn.objects.filter(user=self.request.user, kind=SignIn.Kind.CLIENT).live()

    def form_valid(self, form: forms.NameForm) -> HttpResponse:
        self.object.rename(form.cleaned_data["name"])
        messages.success(self.request, _("Saved: %(name)s.") % {"name": self.object.label})
        return redirect("sign_ins")


class EndSignInView(RecentProofMixin, TemplateView):
    request: SignedInRequest
    template_name = "accounts/sign_in_end.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        sign_in = get_object_or_404(SignIn, user=self.request.user, pk=self.kwargs["pk"])
        return super().get_context_data(**kwargs) | {"sign_in": sign_in}

    def post(self, request: SignedInRequest, pk: Any) -> HttpResponse:
        """Ending what has ended is no error."""
        sign_in = self.get_context_data()["sign_in"]
        if sign_in == request.session.sign_in:
            return leave(request, "accounts/logged_out.html")
        sign_in.end(SignIn.Reason.ENDED_BY_USER)
        messages.success(request, _("Sign-in ended: %(device)s.") % {"device": sign_in.label})
        return redirect("sign_ins")


class EndOtherSignInsView(RecentProofMixin, TemplateView):
    request: SignedInRequest
    template_name = "accounts/sign_ins_end_others.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"others": self.request.user.sign_ins.live().count() - 1}

    def post(self, request: SignedInRequest) -> HttpResponse:
        ended, left = SignIn.objects.end_others(
            request.user,
            SignIn.Reason.ENDED_BY_USER,
            keep=request.session.sign_in,  # type: ignore[arg-type]
        )
        text = ngettext("%(count)d other sign-in ended.", "%(count)d other sign-ins ended.", ended)
        messages.success(request, text % {"count": ended})
        if left:
            text = ngettext(
                "%(count)d other sign-in has not ended yet. End the other sign-ins again.",
                "%(count)d other sign-ins have not ended yet. End the other sign-ins again.",
                left,
            )
            messages.warning(request, text % {"count": left})
        return redirect("sign_ins")


class EndAllSignInsView(RecentProofMixin, TemplateView):
    request: SignedInRequest
    template_name = "accounts/sign_ins_end_all.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"number": self.request.user.sign_ins.live().count()}

    def post(self, request: SignedInRequest) -> HttpResponse:
        ended = SignIn.objects.end_all(request.user, SignIn.Reason.ENDED_BY_USER)
        return leave(request, "accounts/logged_out.html", ended=ended)


# What happened


class ActivityView(LoginRequiredMixin, ListView):
    request: SignedInRequest
    template_name = "accounts/activity.html"
    context_object_name = "events"
    paginate_by = 25

    def get_queryset(self) -> QuerySet[SecurityEvent]:
        return SecurityEvent.objects.filter(user=self.request.user)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        sign_ins = self.request.user.sign_ins.in_bulk({event.sid for event in context["events"] if event.sid})
        for event in context["events"]:
            event.sign_in = sign_ins.get(event.sid)
        return context


class NotMeView(RecentProofMixin, TemplateView):
    """Ends the sign-in that somebody says is not theirs, and leads on to a new password, which ends all others."""

    request: SignedInRequest
    template_name = "accounts/not_me.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        event = get_object_or_404(SecurityEvent, user=self.request.user, pk=self.kwargs["pk"])
        sign_in = self.request.user.sign_ins.filter(pk=event.sid).first() if event.sid else None
        return super().get_context_data(**kwargs) | {"event": event, "sign_in": sign_in}

    def post(self, request: SignedInRequest, pk: int) -> HttpResponse:
        sign_in = self.get_context_data()["sign_in"]
        if sign_in and sign_in != request.session.sign_in and sign_in.end(SignIn.Reason.ENDED_BY_USER):
            messages.success(request, _("Sign-in ended: %(device)s.") % {"device": sign_in.label})
        return redirect("password_change")
