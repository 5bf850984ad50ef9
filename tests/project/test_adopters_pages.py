"""Pages of adopters: they accept their own methods, with the CSRF protection of the project."""

import re

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.urls import include, path
from django.views import View
from django.views.decorators.http import require_http_methods
from django.views.generic import TemplateView

from tests.project.test_all_responses import run_alone

pytestmark = pytest.mark.django_db


class Note(View):
    """A view with the methods that htmx sends."""

    def get(self, request, pk):
        return HttpResponse(f"{pk}")

    def put(self, request, pk):
        return HttpResponse(f"put {pk}: {request.body.decode()}")

    def patch(self, request, pk):
        return HttpResponse(f"patch {pk}")

    def delete(self, request, pk):
        return HttpResponse(f"delete {pk}")


class Legacy(View):
    http_method_names = ["get", "report"]

    def report(self, request):
        return HttpResponse("report")


@require_http_methods(["PUT"])
def only_put(request):
    return HttpResponse("put")


def form(request):
    return HttpResponse(f"{len(request.POST.get('text', ''))}")


class WithoutModule:
    """A view that is neither a function nor a class-based view of Django."""

    def __call__(self, request):
        return HttpResponse(request.method)


urlpatterns = [
    path("", include("project.urls")),
    path("notes/<int:pk>/", Note.as_view()),
    path("only-put/", only_put),
    path("legacy/", Legacy.as_view()),
    path("object/", WithoutModule()),
    path("template/", TemplateView.as_view(template_name="home.html")),
    path("form/", form),
]
handler400, handler403 = "project.error_pages.bad_request", "project.error_pages.permission_denied"
handler404, handler500 = "project.error_pages.not_found", "project.error_pages.server_error"


@pytest.fixture
def page(browser_of, ann, settings):
    settings.ROOT_URLCONF = __name__
    page = browser_of(ann)
    page.handler.enforce_csrf_checks = True
    return page


def token_of(page):
    page.get("/accounts/profile/")
    return {"x-csrftoken": page.cookies[settings.CSRF_COOKIE_NAME].value, "referer": "https://testserver/notes/1/"}


@pytest.mark.parametrize(
    ("method", "address", "words"),
    [
        ("PUT", "/notes/7/", "put 7: text=x"),
        ("PATCH", "/notes/7/", "patch 7"),
        ("DELETE", "/notes/7/", "delete 7"),
        ("PUT", "/only-put/", "put"),
        ("REPORT", "/legacy/", "report"),
        ("DELETE", "/object/", "DELETE"),
    ],
)
def test_an_adopters_page_accepts_its_methods(page, method, address, words):
    options = {"data": "text=x", "content_type": "application/x-www-form-urlencoded"}
    answer = page.generic(method, address, **options, headers=token_of(page))
    assert (answer.status_code, answer.content.decode()) == (200, words)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_unsafe_methods_require_a_csrf_token(page, method):
    assert page.generic(method, "/notes/7/").status_code == 403


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_unsafe_methods_from_a_cross_site_page_are_refused(page, method):
    headers = token_of(page) | {"sec-fetch-site": "cross-site"}
    assert page.generic(method, "/notes/7/", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("PUT", "/accounts/profile/"),
        ("DELETE", "/accounts/password_change/"),
        ("PATCH", "/admin/login/"),
        ("PUT", "/template/"),
        ("DELETE", "/form-that-is-not-there/"),
        ("TRACE", "/notes/7/"),
        ("CONNECT", "/object/"),
        ("POST", "/notes/7/"),
        ("PUT", "/legacy/"),
    ],
)
def test_unsupported_methods_are_refused(page, method, address):
    answer = page.generic(method, address, headers=token_of(page))
    assert answer.status_code == (404 if "not-there" in address else 405)


def test_the_maximum_size_of_a_form_is_a_setting(page, settings):
    text, headers = "x" * 300_000, token_of(page)
    assert page.post("/form/", {"text": text}, headers=headers).status_code in (400, 413)
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 512
    answer = page.post("/form/", {"text": text}, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"300000")


@pytest.mark.parametrize(("environment", "size"), [({}, 262_144), ({"MAX_FORM_KILOBYTES": "2048"}, 2_097_152)])
def test_the_maximum_size_is_read_from_the_environment(environment, size):
    code = "from project import settings; print(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)"
    printed = run_alone(code, **environment).stdout
    assert re.fullmatch(r"\d+", printed.strip())
    assert int(printed) == size
