from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import UserProfile


class Profile(UserProfile):
    company = models.CharField(_("company"), max_length=80)
    newsletter = models.BooleanField(_("send me the newsletter"), default=False)
    # Not in a list: for staff only.
    customer_number = models.CharField(_("customer number"), max_length=20, blank=True)

    PROFILE_FIELDS = ["first_name", "last_name", "company", "newsletter"]
    SIGN_UP_FIELDS = ["company"]


class Note(models.Model):
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="product_notes", verbose_name=_("owner")
    )
    text = models.CharField(_("text"), max_length=200)

    class Meta:
        verbose_name = _("note")
        verbose_name_plural = _("notes")

    def __str__(self) -> str:
        return self.text
