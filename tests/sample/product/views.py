from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import CreateView
from rest_framework import generics, serializers

from product.models import Note


class NotePage(LoginRequiredMixin, CreateView):
    model, fields = Note, ["text"]
    template_name, success_url = "product/notes.html", "/notes/"

    def form_valid(self, form):
        form.instance.owner = self.request.user
        return super().form_valid(form)


class NoteSerializer(serializers.ModelSerializer):
    class Meta:
        model, fields = Note, ["id", "text"]


class NoteList(generics.ListCreateAPIView):
    """List the user's notes, or add one."""

    serializer_class = NoteSerializer

    def get_queryset(self):
        return Note.objects.filter(owner=self.request.user.pk).order_by("-id")

    def perform_create(self, serializer):
        serializer.save(owner=self.request.user)
