from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ProductConfig(AppConfig):
    name = "product"
    # The heading in the admin.
    verbose_name = _("Notes")
