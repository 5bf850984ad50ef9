"""Jobs, which `manage.py db_worker` runs for a user."""

from django.urls import reverse

from accounts.django_versions import task
from accounts.http import request_context
from accounts.models import SecurityEvent, User
from tests.sample_app.models import Note


@task()
def import_notes(user_id: int, texts: list[str]) -> str:
    """Returns the URL of the page with the notes."""
    user = User.objects.get(pk=user_id)
    with request_context.acting("Imported notes.", actor=user):
        for number, text in enumerate(texts):
            Note.objects.create(owner=user, slug=f"imported-{number}", text=text)
        SecurityEvent.objects.record(SecurityEvent.Type.USER_EDITED, user)
    return request_context.absolute_url(reverse("notes"))
