"""Pages: a list with a form and uploads, and a note that htmx changes and deletes."""

from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.views import View
from django.views.generic import CreateView

from accounts.http.uploads import accepts_uploads
from accounts.models import User
from tests.sample_app.models import Note


class NotePage(LoginRequiredMixin, CreateView):
    model = Note
    fields = ["slug", "text", "attachment"]
    template_name = "sample_app/notes.html"
    success_url = "/notes/"
    max_upload_bytes = 6_000_000

    def form_valid(self, form):
        form.instance.owner = self.request.user
        return super().form_valid(form)


class NoteFragment(LoginRequiredMixin, View):
    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        return HttpResponse(self.note(slug).text)

    def put(self, request: HttpRequest, slug: str) -> HttpResponse:
        note = self.note(slug)
        note.text = QueryDict(request.body)["text"]
        note.save()
        return HttpResponse(note.text)

    patch = put

    def delete(self, request: HttpRequest, slug: str) -> HttpResponse:
        self.note(slug).delete()
        return HttpResponse()

    def note(self, slug: str) -> Note:
        return get_object_or_404(Note, owner=self.request.user, slug=slug)


@login_required
def small_form(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{sum(file.size for file in request.FILES.values())}")


@login_required
@accepts_uploads(6_000_000)
def large_form(request: HttpRequest) -> HttpResponse:
    return small_form(request)


def archive(request: HttpRequest, year: str) -> HttpResponse:
    return HttpResponse(get_object_or_404(User, username=f"archive-{year}").username)
