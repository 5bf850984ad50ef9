from django.apps import AppConfig


class BlocklistConfig(AppConfig):
    name = "api.blocklist"
    label = "blocklist"
    verbose_name = "Token blocklist"

    def ready(self) -> None:
        from accounts.signals import sign_ins_ended
        from api.blocklist.models import block_ended_sign_ins

        sign_ins_ended.connect(block_ended_sign_ins)
