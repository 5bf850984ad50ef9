from django.conf import settings
from django.db import models

from accounts.models import UserProfile


class Profile(UserProfile):
    company = models.CharField("company", max_length=80)
    newsletter = models.BooleanField("send me the newsletter", default=False)
    # Not in a list: for staff only.
    customer_number = models.CharField("customer number", max_length=20, blank=True)

    PROFILE_FIELDS = ["first_name", "last_name", "company", "newsletter"]
    SIGN_UP_FIELDS = ["company"]


class Note(models.Model):
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="product_notes")
    text = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.text
