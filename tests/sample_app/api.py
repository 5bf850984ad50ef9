"""Endpoints: a router with format suffixes, files, and streams."""

import asyncio

from django.http import HttpResponse, StreamingHttpResponse
from rest_framework import serializers, viewsets
from rest_framework.parsers import FileUploadParser, MultiPartParser
from rest_framework.response import Response
from rest_framework.routers import DefaultRouter
from rest_framework.views import APIView

from api import streams
from tests.sample_app.models import Note


class NoteSerializer(serializers.ModelSerializer):
    class Meta:
        model = Note
        fields = ["slug", "text"]


class NoteViewSet(viewsets.ModelViewSet):
    serializer_class = NoteSerializer
    lookup_field = "slug"
    queryset = Note.objects.none()

    def get_queryset(self):
        return Note.objects.filter(owner=self.request.user.pk)

    def perform_create(self, serializer):
        serializer.save(owner=self.request.user)


class WhoAmI(APIView):
    """Tell the mode, as Django REST framework documents it."""

    schema = None

    def get(self, request, format=None):
        return Response({"username": request.user.username, "by": "session" if request.auth is None else "token"})


class FileView(APIView):
    schema = None
    parser_classes = [MultiPartParser, FileUploadParser]
    max_upload_bytes = 6_000_000

    def post(self, request, filename=None):
        return Response({"size": sum(file.size for file in request.FILES.values())})


class SmallFileView(FileView):
    max_upload_bytes = None


class EventStream(APIView):
    """Server-sent events of the user: a number each fifth of a second."""

    schema = None

    def get(self, request):
        events = streams.while_signed_in(request, self.events())
        return StreamingHttpResponse(events, content_type="text/event-stream")

    async def events(self):
        number = 0
        while True:
            yield f"data: {number}\n\n"
            number += 1
            await asyncio.sleep(0.2)


class SocketView(APIView):
    """The handshake of the websocket that tests.sample_app.asgi serves."""

    schema = None

    def get(self, request) -> HttpResponse:
        return streams.accept(request)


router = DefaultRouter()
router.register("notes", NoteViewSet, basename="note")
