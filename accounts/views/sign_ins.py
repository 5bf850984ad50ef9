"""Pages that list, rename and end the sign-ins of an account."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.generic import ListView, TemplateView, UpdateView

from accounts import ending, forms
from accounts.models import SignIn, SignInQuerySet
from accounts.sessions import SignedInRequest
from accounts.views.sign_in import ReauthenticationRequiredMixin, sign_out_and_render

ENDED_SHOWN_FOR = timedelta(days=30)
MAX_ENDED_SHOWN = 15


class SignInListView(LoginRequiredMixin, ListView):
    """The live sign-ins of the signed-in user, the current one first, and those that ended lately."""

    request: SignedInRequest
    template_name = "accounts/sign_ins.html"
    context_object_name = "sign_ins"
    paginate_by = 25

    def get_queryset(self) -> SignInQuerySet:
        return SignIn.objects.filter(user=self.request.user).live().current_first(self.request.session.sign_in)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        ended = self.request.user.sign_ins.ended_since(timezone.now() - ENDED_SHOWN_FOR)
        return context | {
            # A template that reads request.session.sign_in also reads the session's data, by a statement.
            "current_sign_in": self.request.session.sign_in,
            "others": context["paginator"].count - 1,
            "ended": ended[:MAX_ENDED_SHOWN],
        }


class RenameSignInView(LoginRequiredMixin, UpdateView):
    """Renames a client of the signed-in user."""

    request: SignedInRequest
    context_object_name = "sign_in"
    form_class = forms.ClientNameForm
    template_name = "accounts/sign_in_name.html"

    def get_queryset(self) -> SignInQuerySet:
        return SignIn.objects.filter(user=self.request.user, kind=SignIn.Kind.CLIENT).live()

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
        messages.success(request, _("Sign-in ended: %(device)s.") % {"device": sign_in.label})
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


class EndAllSignInsView(ReauthenticationRequiredMixin, TemplateView):
    """Ends all sign-ins, and signs out."""

    request: SignedInRequest
    template_name = "accounts/sign_ins_end_all.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"number": self.request.user.sign_ins.live().count()}

    def post(self, request: SignedInRequest) -> HttpResponse:
        ended = ending.end_all(request.user, SignIn.Reason.ENDED_BY_USER)
        return sign_out_and_render(request, "accounts/logged_out.html", ended=ended)
