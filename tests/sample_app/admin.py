"""The pages of the admin site."""

from django.contrib import admin

from tests.sample_app.models import Note


@admin.register(Note)
class NoteAdmin(admin.ModelAdmin):
    list_display = ["text", "owner"]
    raw_id_fields = ["owner"]
    max_upload_bytes = 6_000_000
