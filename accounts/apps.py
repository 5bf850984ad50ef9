"""App configuration of accounts: connects Django's sign-in signals."""

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = _("Accounts")

    def ready(self) -> None:
        # Models can be imported only now.
        from accounts import sessions, signals, support

        if any(each.get("ATOMIC_REQUESTS") for each in settings.DATABASES.values()):
            raise ImproperlyConfigured(
                "ATOMIC_REQUESTS would undo attempt counters, ended sign-ins and security events of refused requests. "
                "Remove it from DATABASES."
            )
        # By its id in place of Django's receiver, which may be connected later: starting.start() writes last_login, in
        # the statement that also refuses an account that was just deactivated.
        user_logged_in.disconnect(dispatch_uid="update_last_login")
        user_logged_in.connect(sessions.start_browser_sign_in, dispatch_uid="update_last_login")
        user_login_failed.connect(sessions.record_failed_sign_in)
        signals.sign_ins_ended.connect(support.end_with_own)
        signals.sign_ins_revoked_before.connect(support.end_of_staff)
