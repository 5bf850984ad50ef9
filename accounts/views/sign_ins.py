"""Pages that list, rename and end the sign-ins of an account."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.generic import ListView, TemplateView, UpdateView

from accounts import ending, forms
from accounts.models import SignIn, SignInQuerySet
from accounts.sessions import SignedInRequest
from accounts.views.sign_in import ReauthenticationRequiredMixin, sign_out_and_render


class SignInsView(LoginRequiredMixin, ListView):
    """A list of sign-ins of the signed-in user, with their numbers on top of the page."""

    request: SignedInRequest
    context_object_name = "sign_ins"
    paginate_by = 25
    # The kind that the page shows: "" for all live sign-ins, None for ended ones.
    kind: str | None = ""

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of live sign-ins of each kind, and of all. One statement."""
        numbers = dict.fromkeys(SignIn.Kind.values, 0) | self.request.user.sign_ins.live().by_kind()
        return numbers | {"total": sum(numbers.values())}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {
            "numbers": self.numbers,
            "others": self.numbers["total"] - 1,
            "kind": self.kind,
            # A template that reads request.session.sign_in also reads the session's data, by a statement.
            "current_sign_in": self.request.session.sign_in,
        }


class SignInListView(SignInsView):
    """The live sign-ins of the signed-in user, the current one first; `?kind=` selects browsers or clients."""

    template_name = "accounts/sign_ins.html"

    def get_queryset(self) -> SignInQuerySet:
        self.kind = self.request.GET.get("kind", "")
        live = SignIn.objects.filter(user=self.request.user).live().current_first(self.request.session.sign_in)
        if self.kind and self.kind not in SignIn.Kind.values:
            raise Http404
        return live.filter(kind=self.kind) if self.kind else live

    def get_paginator(self, *args: Any, **kwargs: Any) -> Paginator:
        paginator = super().get_paginator(*args, **kwargs)
        # So that the rows are not counted again.
        paginator.count = self.numbers[self.kind or "total"]
        return paginator


class EndedSignInListView(SignInsView):
    """The sign-ins of the signed-in user that ended or expired in the last SIGN_IN_KEEP_DAYS, the latest first."""

    template_name = "accounts/sign_ins_ended.html"
    kind = None

    def get_queryset(self) -> SignInQuerySet:
        return SignIn.objects.filter(user=self.request.user).ended_since(timezone.now() - settings.SIGN_IN_KEEP)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"kept_days": settings.SIGN_IN_KEEP.days}


class RenameSignInView(LoginRequiredMixin, UpdateView):
    """Renames a browser or client of the signed-in user."""

    request: SignedInRequest
    context_object_name = "sign_in"
    form_class = forms.ClientNameForm
    template_name = "accounts/sign_in_name.html"

    def get_queryset(self) -> SignInQuerySet:
        return SignIn.objects.filter(user=self.request.user).live()

    def form_valid(self, form: forms.ClientNameForm) -> HttpResponse:
        self.object.rename(form.cleaned_data["name"])
        messages.success(self.request, _("Saved: %(name)s.") % {"name": self.object.label})
        return redirect("sign_ins")


class EndSignInView(ReauthenticationRequiredMixin, TemplateView):
    """Ends one sign-in. Ending the current one signs out."""

    request: SignedInRequest
    template_name = "accounts/sign_in_end.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        sign_in = get_object_or_404(SignIn, user=self.request.user, pk=self.kwargs["pk"])
        return super().get_context_data(**kwargs) | {"sign_in": sign_in}

    def post(self, request: SignedInRequest, pk: Any) -> HttpResponse:
        """A sign-in that has already ended is no error."""
        sign_in = self.get_context_data()["sign_in"]
        if sign_in == request.session.sign_in:
            return sign_out_and_render(request, "accounts/logged_out.html")
        sign_in.end(SignIn.Reason.ENDED_BY_USER)
        messages.success(request, _("Signed out: %(device)s.") % {"device": sign_in.label})
        return redirect("sign_ins")


class EndOtherSignInsView(ReauthenticationRequiredMixin, TemplateView):
    """Ends all sign-ins but the current one."""

    request: SignedInRequest
    template_name = "accounts/sign_ins_end_others.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"others": self.request.user.sign_ins.live().count() - 1}

    def post(self, request: SignedInRequest) -> HttpResponse:
        ended, left = ending.end_others(
            request.user,
            SignIn.Reason.ENDED_BY_USER,
            keep=request.session.sign_in,  # type: ignore[arg-type]
        )
        text = ngettext("%(count)d other was signed out.", "%(count)d others were signed out.", ended)
        messages.success(request, text % {"count": ended})
        if left:
            text = ngettext(
                "%(count)d other is still signed in. Sign out the others again.",
                "%(count)d others are still signed in. Sign out the others again.",
                left,
            )
            messages.warning(request, text % {"count": left})
        return redirect("sign_ins")


class EndAllSignInsView(ReauthenticationRequiredMixin, TemplateView):
    """Ends all sign-ins, and signs out."""

    request: SignedInRequest
    template_name = "accounts/sign_ins_end_all.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"number": self.request.user.sign_ins.live().count()}

    def post(self, request: SignedInRequest) -> HttpResponse:
        ended = ending.end_all(request.user, SignIn.Reason.ENDED_BY_USER)
        return sign_out_and_render(request, "accounts/logged_out.html", ended=ended)
