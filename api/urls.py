"""The URLs of the API, below /api/."""

from django.urls import path
from rest_framework_simplejwt import views as simplejwt

from api import browser_session, factors, reauthentication, service_endpoints, sign_in_steps, views
from api.openapi import views as openapi_views
from api.throttling import TokenThrottle

urlpatterns = [
    path("token/", simplejwt.token_obtain_pair),
    path("token/refresh/", simplejwt.TokenRefreshView.as_view(throttle_classes=[TokenThrottle])),
    path("token/verify/", simplejwt.TokenVerifyView.as_view(throttle_classes=[TokenThrottle])),
    path("token/blacklist/", simplejwt.TokenBlacklistView.as_view(throttle_classes=[TokenThrottle])),
    path("token/revoke/", service_endpoints.RevokeView.as_view()),
    path("token/introspect/", service_endpoints.IntrospectView.as_view()),
    path("token/status/<int:number>", service_endpoints.StatusListView.as_view()),
    path("token/second-step/", sign_in_steps.SecondStepView.as_view()),
    path("token/passkey/options/", sign_in_steps.PasskeyOptionsView.as_view()),
    path("token/passkey/", sign_in_steps.PasskeySignInView.as_view()),
    path("session/", browser_session.SessionView.as_view()),
    path("session/second-step/", browser_session.SessionSecondStepView.as_view()),
    path("session/passkey/options/", browser_session.SessionPasskeyOptionsView.as_view()),
    path("session/passkey/", browser_session.SessionPasskeyView.as_view()),
    path("session/token/", browser_session.SessionTokenView.as_view()),
    path("me/", views.MeView.as_view()),
    path("sign-ins/", views.SignInViewSet.as_view({"get": "list"})),
    path("sign-ins/end-others/", views.SignInViewSet.as_view({"post": "end_others"})),
    path("sign-ins/end-all/", views.SignInViewSet.as_view({"post": "end_all"})),
    path("sign-ins/<uuid:pk>/", views.SignInViewSet.as_view({"delete": "destroy"})),
    path("events/", views.SecurityEventView.as_view()),
    path("register/", views.RegisterView.as_view()),
    path("factors/", factors.FactorListView.as_view()),
    path("factors/totp/", factors.NewAppView.as_view()),
    path("factors/totp/confirm/", factors.ConfirmAppView.as_view()),
    path("factors/passkey/options/", factors.NewPasskeyOptionsView.as_view()),
    path("factors/passkey/", factors.NewPasskeyView.as_view()),
    path("factors/recovery-codes/", factors.RecoveryCodesView.as_view()),
    path("factors/<uuid:pk>/", factors.FactorView.as_view()),
    path("reauthenticate/", reauthentication.ReauthenticateView.as_view()),
    path("reauthenticate/options/", reauthentication.ReauthenticationOptionsView.as_view()),
    path("password/change/", views.PasswordChangeView.as_view()),
    path("password/confirm/", views.PasswordConfirmView.as_view()),
    path("password/reset/", views.PasswordResetView.as_view()),
    path("password/reset/confirm/", views.PasswordResetConfirmView.as_view()),
    path("schema/", openapi_views.SchemaView.as_view(), name="schema"),
    path("docs/", openapi_views.DocsView.as_view(), name="docs"),
]
