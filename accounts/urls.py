"""URLs of the pages of an account."""

from django.contrib.auth import views as auth_views
from django.urls import path

from accounts.views import account, activity, enrolment, factors, second_step, security, sign_in, sign_ins

urlpatterns = [
    path("signup/", sign_in.SignUpView.as_view(), name="signup"),
    path("login/", sign_in.SignInView.as_view(), name="login"),
    path("login/passkey/", sign_in.SignInOptionsView.as_view(), name="login_options"),
    path("second-step/", second_step.SecondStepView.as_view(), name="second_step"),
    path("second-step/passkey/", second_step.SecondStepOptionsView.as_view(), name="second_step_options"),
    path("second-step/add/", enrolment.EnrolView.as_view(), name="enrol"),
    path("second-step/add/passkey/", enrolment.EnrolOptionsView.as_view(), name="enrol_options"),
    path("second-step/add/app/", enrolment.EnrolAppView.as_view(), name="enrol_app"),
    path("second-step/add/app/new/", enrolment.StartEnrolAppView.as_view(), name="start_enrol_app"),
    path("logout/", sign_in.SignOutView.as_view(), name="logout"),
    path("confirm/", sign_in.ReauthenticateView.as_view(), name="confirm"),
    path("confirm/passkey/", sign_in.ReauthenticationOptionsView.as_view(), name="confirm_options"),
    path("security/", security.SecurityView.as_view(), name="security"),
    path("security/passkeys/new/", enrolment.NewPasskeyView.as_view(), name="new_passkey"),
    path("security/passkeys/new/options/", enrolment.NewPasskeyOptionsView.as_view(), name="new_passkey_options"),
    path("security/app/", enrolment.AppView.as_view(), name="app"),
    path("security/app/new/", enrolment.StartAppView.as_view(), name="start_app"),
    path("security/recovery-codes/", security.NewRecoveryCodesView.as_view(), name="new_recovery_codes"),
    path("security/offer/", security.DeclineOfferView.as_view(), name="decline_passkey"),
    path("security/<uuid:pk>/name/", security.RenameFactorView.as_view(), name="rename_factor"),
    path("security/<uuid:pk>/remove/", security.RemoveFactorView.as_view(), name="remove_factor"),
    path("profile/", account.ProfileView.as_view(), name="profile"),
    path("delete/", account.DeleteAccountView.as_view(), name="delete_account"),
    path("email/", account.EmailChangeView.as_view(), name="email_change"),
    path("email/ask/", account.SendConfirmationView.as_view(), name="email_ask"),
    path("email/cancel/", account.CancelEmailChangeView.as_view(), name="email_cancel"),
    path("email/<uidb64>/<token>/", account.EmailConfirmView.as_view(), name="email_confirm"),
    path("password_change/", account.PasswordChangeView.as_view(), name="password_change"),
    path(
        "password_change/done/",
        auth_views.PasswordChangeDoneView.as_view(template_name="accounts/password_change_done.html"),
        name="password_change_done",
    ),
    path("password_reset/", account.PasswordResetView.as_view(), name="password_reset"),
    path(
        "password_reset/done/",
        auth_views.PasswordResetDoneView.as_view(template_name="accounts/password_reset_done.html"),
        name="password_reset_done",
    ),
    path("reset/<uidb64>/<token>/", account.PasswordResetConfirmView.as_view(), name="password_reset_confirm"),
    path(
        "reset/done/",
        auth_views.PasswordResetCompleteView.as_view(template_name="accounts/password_reset_complete.html"),
        name="password_reset_complete",
    ),
    path("sign-ins/", sign_ins.SignInListView.as_view(), name="sign_ins"),
    path("sign-ins/ended/", sign_ins.EndedSignInListView.as_view(), name="ended_sign_ins"),
    path("sign-ins/<uuid:pk>/name/", sign_ins.RenameSignInView.as_view(), name="rename_sign_in"),
    path("sign-ins/<uuid:pk>/end/", sign_ins.EndSignInView.as_view(), name="end_sign_in"),
    path("sign-ins/end-others/", sign_ins.EndOtherSignInsView.as_view(), name="end_other_sign_ins"),
    path("sign-ins/end-all/", sign_ins.EndAllSignInsView.as_view(), name="end_all_sign_ins"),
    path("factors/stop-removal/<token>/", factors.StopRemovalView.as_view(), name="stop_factor_removal"),
    path("activity/", activity.ActivityView.as_view(), name="activity"),
    path("activity/download/", activity.DownloadActivityView.as_view(), name="download_activity"),
    path("activity/<int:pk>/not-me/", activity.NotMeView.as_view(), name="not_me"),
]
