"""Notes, which belong to a user."""

from django.conf import settings
from django.db import models


class Note(models.Model):
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sample_notes")
    slug = models.SlugField(unique=True)
    text = models.CharField(max_length=200)
    attachment = models.FileField(upload_to="notes/", blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.text
