"""URLs of sign-in by others. The names of the callbacks are allauth's."""

from django.conf import settings
from django.urls import path

from accounts.openid import views

urlpatterns = [
    path("sign-up/", views.SignUpView.as_view(), name="openid_sign_up"),
    path("disconnect/<uuid:pk>/", views.DisconnectView.as_view(), name="openid_disconnect"),
    path("<slug:provider_id>/", views.SignInView.as_view(), name="openid_sign_in"),
    path("<slug:provider_id>/connect/", views.ConnectView.as_view(), name="openid_connect"),
    path("<slug:provider_id>/confirm/", views.ConfirmView.as_view(), name="openid_confirm"),
]
if "github" in settings.OPENID_PROVIDERS:
    callback = views.CallbackView.as_view()
    urlpatterns.append(path("github/callback/", callback, {"provider_id": "github"}, name="github_callback"))
urlpatterns.append(path("<slug:provider_id>/callback/", views.CallbackView.as_view(), name="openid_connect_callback"))
