"""The configuration of the app `blocklist`."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class BlocklistConfig(AppConfig):
    name = "api.blocklist"
    label = "blocklist"
    verbose_name = _("Token blocklist")

    def ready(self) -> None:
        from accounts.signals import session_keys_revoked, sign_ins_ended, sign_ins_revoked_before
        from api.blocklist.models import block_ended_sign_ins, block_sign_ins_before, publish_session_keys

        sign_ins_ended.connect(block_ended_sign_ins)
        sign_ins_revoked_before.connect(block_sign_ins_before)
        session_keys_revoked.connect(publish_session_keys)
