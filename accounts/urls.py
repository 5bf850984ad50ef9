from django.contrib.auth import views as auth_views
from django.urls import path

from accounts import views

urlpatterns = [
    path("signup/", views.SignUpView.as_view(), name="signup"),
    path("login/", views.SignInView.as_view(), name="login"),
    path("logout/", views.SignOutView.as_view(), name="logout"),
    path("confirm/", views.ConfirmView.as_view(), name="confirm"),
    path("profile/", views.ProfileView.as_view(), name="profile"),
    path("delete/", views.DeleteAccountView.as_view(), name="delete_account"),
    path("email/", views.EmailChangeView.as_view(), name="email_change"),
    path("email/ask/", views.SendConfirmationView.as_view(), name="email_ask"),
    path("email/cancel/", views.CancelEmailChangeView.as_view(), name="email_cancel"),
    path("email/<uidb64>/<token>/", views.EmailConfirmView.as_view(), name="email_confirm"),
    path("password_change/", views.PasswordChangeView.as_view(), name="password_change"),
    path(
        "password_change/done/",
        auth_views.PasswordChangeDoneView.as_view(template_name="accounts/password_change_done.html"),
        name="password_change_done",
    ),
    path("password_reset/", views.PasswordResetView.as_view(), name="password_reset"),
    path(
        "password_reset/done/",
        auth_views.PasswordResetDoneView.as_view(template_name="accounts/password_reset_done.html"),
        name="password_reset_done",
    ),
    path("reset/<uidb64>/<token>/", views.PasswordResetConfirmView.as_view(), name="password_reset_confirm"),
    path(
        "reset/done/",
        auth_views.PasswordResetCompleteView.as_view(template_name="accounts/password_reset_complete.html"),
        name="password_reset_complete",
    ),
    path("sign-ins/", views.SignInListView.as_view(), name="sign_ins"),
    path("sign-ins/<uuid:pk>/name/", views.RenameSignInView.as_view(), name="rename_sign_in"),
    path("sign-ins/<uuid:pk>/end/", views.EndSignInView.as_view(), name="end_sign_in"),
    path("sign-ins/end-others/", views.EndOtherSignInsView.as_view(), name="end_other_sign_ins"),
    path("sign-ins/end-all/", views.EndAllSignInsView.as_view(), name="end_all_sign_ins"),
    path("activity/", views.ActivityView.as_view(), name="activity"),
    path("activity/<int:pk>/not-me/", views.NotMeView.as_view(), name="not_me"),
]
