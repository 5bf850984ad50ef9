from typing import Any

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth import views as auth_views
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView, ListView, TemplateView, UpdateView, View

from accounts import forms, locks
from accounts.models import SecurityEvent, SignIn, SignInRefused, User
from accounts.sessions import BrowserRequest, SignedInRequest


class HomeView(TemplateView):
    template_name = "home.html"


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


class SignOutView(auth_views.LogoutView):
    template_name = "accounts/logged_out.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().dispatch(request, *args, **kwargs)
        response["Clear-Site-Data"] = '"cache"'
        return response


@method_decorator(sensitive_post_parameters("password1", "password2"), name="dispatch")
class SignUpView(FormView):
    form_class = forms.SignUpForm
    template_name = "accounts/signup.html"
    success_url = reverse_lazy("profile")

    def form_valid(self, form: forms.SignUpForm) -> HttpResponse:
        try:
            user = form.save()
        except ValidationError as error:
            form._update_errors(error)  # type: ignore[attr-defined]
            return self.form_invalid(form)
        login(self.request, user)
        return super().form_valid(form)


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
    request: SignedInRequest
    form_class = forms.PasswordChangeForm
    template_name = "accounts/password_change.html"
    success_url = reverse_lazy("password_change_done")

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"sign_in": self.request.session.sign_in}

    def form_valid(self, form: forms.PasswordChangeForm) -> HttpResponse:
        locks.remember(self.request, form.user)
        return super().form_valid(form)


class PasswordResetView(auth_views.PasswordResetView):
    form_class = forms.PasswordResetForm  # type: ignore[assignment]
    template_name = "accounts/password_reset.html"


@method_decorator(sensitive_post_parameters("new_password1", "new_password2"), name="dispatch")
class PasswordResetConfirmView(FormView):
    """
    Unlike Django's, it does not park the link's token in the session: nothing in the database may open an account.
    The form is sent to the link's own address, which the page tells to nobody.
    """

    form_class = forms.SetPasswordForm
    template_name = "accounts/password_reset_confirm.html"
    success_url = reverse_lazy("password_reset_complete")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.user = User.objects.by_reset_link(kwargs["uidb64"], kwargs["token"])
        response = (
            super().dispatch(request, *args, **kwargs)
            if self.user
            else self.render_to_response({"form": None}, status=400)
        )
        response["Referrer-Policy"] = "no-referrer"
        return response

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"user": self.user}

    def form_valid(self, form: forms.SetPasswordForm) -> HttpResponse:
        form.save()
        # A way in for whom strangers have locked out elsewhere.
        locks.remember(self.request, form.user)
        return super().form_valid(form)


class SignInListView(LoginRequiredMixin, ListView):
    template_name = "accounts/sign_ins.html"
    context_object_name = "sign_ins"
    paginate_by = 25

    def get_queryset(self) -> QuerySet[SignIn]:
        return SignIn.objects.filter(user=self.request.user).live()


class EndSignInView(LoginRequiredMixin, View):
    def post(self, request: SignedInRequest, pk: Any) -> HttpResponse:
        sign_in = get_object_or_404(SignIn, user=request.user, pk=pk)
        sign_in.end(SignIn.Reason.ENDED_BY_USER)
        if sign_in != request.session.sign_in:
            messages.success(request, _("Ended: %(device)s.") % {"device": sign_in.device})
        return redirect("sign_ins")


class EndOtherSignInsView(LoginRequiredMixin, View):
    def post(self, request: SignedInRequest) -> HttpResponse:
        ended = SignIn.objects.end_all(request.user, SignIn.Reason.ENDED_BY_USER, keep=request.session.sign_in)
        messages.success(request, _("Ended elsewhere: %(count)d.") % {"count": ended})
        return redirect("sign_ins")


class EndAllSignInsView(LoginRequiredMixin, View):
    def post(self, request: SignedInRequest) -> HttpResponse:
        SignIn.objects.end_all(request.user, SignIn.Reason.ENDED_BY_USER)
        return redirect("login")


class ActivityView(LoginRequiredMixin, ListView):
    template_name = "accounts/activity.html"
    context_object_name = "events"
    paginate_by = 25

    def get_queryset(self) -> QuerySet[SecurityEvent]:
        return SecurityEvent.objects.filter(user=self.request.user)
