"""Files in requests: each view accepts its own size, and a larger body gets 413 before it is read."""

from io import BytesIO

import pytest
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import SimpleUploadedFile, TemporaryUploadedFile
from django.http import HttpResponse
from django.urls import include, path
from django.views import View
from rest_framework.parsers import FileUploadParser, MultiPartParser
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from accounts.http.uploads import accepts_uploads, max_bytes_at

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]

LIMIT = 4_000_000


def sizes(request):
    return HttpResponse(",".join(f"{type(each).__name__} {each.size}" for each in request.FILES.values()))


@login_required
def small(request):
    return sizes(request)


@login_required
@accepts_uploads(LIMIT)
def large(request):
    return sizes(request)


class Large(View):
    max_upload_bytes = LIMIT

    def post(self, request):
        return sizes(request)


class LargeEndpoint(APIView):
    parser_classes = [MultiPartParser, FileUploadParser]
    max_upload_bytes = LIMIT

    def post(self, request, filename=None):
        return Response({"size": request.data["file"].size})


class SmallEndpoint(LargeEndpoint):
    max_upload_bytes = None


urlpatterns = [
    path("", include("project.urls")),
    path("small/", small),
    path("large/", large),
    path("class/", Large.as_view()),
    path("api/small/", SmallEndpoint.as_view()),
    path("api/large/", LargeEndpoint.as_view()),
    path("api/large/<str:filename>/", LargeEndpoint.as_view()),
]
handler400 = "project.error_pages.bad_request"


def file(size):
    return SimpleUploadedFile("report.pdf", b"x" * size)


@pytest.mark.parametrize(
    ("address", "size", "words"),
    [
        ("/small/", 2_000_000, "InMemoryUploadedFile 2000000"),
        ("/large/", 2_000_000, "InMemoryUploadedFile 2000000"),
        ("/large/", 3_000_000, "TemporaryUploadedFile 3000000"),
        ("/class/", 3_000_000, "TemporaryUploadedFile 3000000"),
    ],
)
def test_a_view_receives_files_up_to_its_size(browser_of, ann, address, size, words):
    answer = browser_of(ann).post(address, {"file": file(size)})
    assert (answer.status_code, answer.content.decode()) == (200, words)


@pytest.mark.parametrize(
    ("address", "size"),
    [("/small/", 3_000_000), ("/large/", LIMIT), ("/class/", LIMIT), ("/accounts/login/", 3_000_000)],
)
def test_a_larger_body_of_a_page_is_413(browser_of, ann, address, size):
    answer = browser_of(ann).post(address, {"file": file(size)})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("address", "size", "status"),
    [
        ("/api/small/", 2_000_000, 200),
        ("/api/small/", 3_000_000, 413),
        ("/api/large/", 3_000_000, 200),
        ("/api/large/", LIMIT, 413),
    ],
)
def test_an_endpoint_has_a_size_of_its_own(ann, address, size, status):
    client = APIClient()
    client.force_authenticate(ann)
    answer = client.post(address, {"file": file(size)}, format="multipart")
    assert answer.status_code == status, answer.content
    assert answer.json().get("code") == (None if status == 200 else "too_large")


def test_a_file_can_be_the_whole_body(hers):
    headers = {"Content-Disposition": "attachment; filename=report.pdf", "Authorization": f"Bearer {hers.access}"}
    answer = hers.http.generic("POST", "/api/large/report.pdf/", b"x" * 3_000_000, "application/pdf", headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"size": 3_000_000})


@pytest.mark.parametrize(("size", "status"), [(3_000_000, 200), (LIMIT + 1, 413)])
def test_a_chunked_body_has_the_size_of_its_view(hers, size, status):
    headers = {"Content-Disposition": "attachment; filename=report.pdf", "Authorization": f"Bearer {hers.access}"}
    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    stream = {"wsgi.input": BytesIO(b"x" * size), "CONTENT_TYPE": "application/pdf"}
    answer = hers.http.generic("POST", "/api/large/report.pdf/", **chunked, **stream, headers=headers)
    assert answer.status_code == status, answer.content


def test_a_form_with_a_file_needs_a_csrf_token(browser_of, ann):
    page = browser_of(ann)
    page.handler.enforce_csrf_checks = True
    assert page.post("/large/", {"file": file(3_000_000)}).status_code == 403


def test_the_temporary_file_is_removed_after_the_request(browser_of, ann, monkeypatch, tmp_path, settings):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    assert TemporaryUploadedFile.__name__ in browser_of(ann).post("/large/", {"file": file(3_000_000)}).content.decode()
    assert not list(tmp_path.iterdir())


def test_an_address_without_a_view_has_no_size():
    assert max_bytes_at("/nowhere/") is None
    assert max_bytes_at("/large/") == LIMIT
