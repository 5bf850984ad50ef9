from django.contrib import admin

from accounts.admin import ReadOnlyAdmin
from api.blocklist.models import Entry


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    list_display = ["token_id", "kind", "blocked_at", "until"]
    list_filter = ["kind"]
    search_fields = ["=token_id"]
