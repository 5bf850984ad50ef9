"""tests/security/urls.py: URLs of any URL conf of an adopter, and a reason for each skipped one."""

import re
import warnings

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpResponse
from django.urls import include, path, re_path, register_converter
from rest_framework.routers import DefaultRouter
from rest_framework.urlpatterns import format_suffix_patterns
from rest_framework.viewsets import ViewSet

from tests.security import urls


class Year:
    regex = r"[0-9]{4}"

    def to_python(self, value):
        return int(value)

    def to_url(self, value):
        return f"{value:04}"


class Weekday:
    regex = r"[a-z]+"

    def to_python(self, value):
        return ["mon", "tue"].index(value)

    def to_url(self, value):
        return ["mon", "tue"][value]


class Existing:
    """A converter that reads a row of a model."""

    regex = r"[a-z0-9]{6}"

    def to_python(self, value):
        raise RuntimeError("Database access not allowed")

    def to_url(self, value):
        return value


for name, converter in (("yyyy", Year), ("weekday", Weekday), ("existing", Existing)):
    register_converter(converter, name)


def page(request, *args, **kwargs):
    return HttpResponse()


def shadowed(request, *args, **kwargs):
    return HttpResponse()


class Things(ViewSet):
    def list(self, request, format=None):
        return HttpResponse()

    def retrieve(self, request, pk, format=None):
        return HttpResponse()


class Codes(Things):
    lookup_value_regex = "[A-Z]{3}-[0-9]{2}"


router = DefaultRouter()
router.register("things", Things, basename="thing")
router.register("codes", Codes, basename="code")

nested = (
    [path("<slug:slug>/", page), re_path(r"^(?P<number>[0-9]{3})/(?P<letter>[a-f])/$", page)],
    "inner",
)
urlpatterns = [
    path("", include("project.urls")),
    path("text/<str:text>/{braces}/", page),
    path("articles/<yyyy:year>/<slug:slug>/<path:rest>", page),
    path("rows/<existing:row>/", page),
    path("shop/<slug:shop>/", include(nested, namespace="outer")),
    re_path(r"^old/(?P<year>[0-9]{4})/(?:page-(?P<page>[0-9]+)/)?$", page),
    re_path(r"^groups/([0-9]+)/(a|b)/$", page),
    path("api/", include(router.urls)),
    *format_suffix_patterns([path("api/plain/<int:pk>/", page)], allowed=["json", "xml"]),
    *i18n_patterns(path("greeting/", page)),
    path("weekdays/<weekday:day>/", page),
    path("<slug:anything>/", page),
    path("hidden/", shadowed),
]
# No adopter adds a view below them.
OURS_ONLY = ("/accounts/", "/api/token/", "/health/")
OTHER_THAN_OURS = {
    "/text/<str:text>/{braces}/",
    "/articles/<yyyy:year>/<slug:slug>/<path:rest>",
    "/rows/<existing:row>/",
    "/shop/<slug:shop>/<slug:slug>/",
    "/shop/<slug:shop>/^(?P<number>[0-9]{3})/(?P<letter>[a-f])/$",
    "/api/^things/(?P<pk>[^/.]+)/$",
    "/api/^codes/(?P<pk>[A-Z]{3}-[0-9]{2})/$",
    "/en/greeting/",
    "/<slug:anything>/",
}


@pytest.fixture
def walked():
    found, skipped = urls.walk(__name__)
    return {place.route: place for place in found}, skipped


@pytest.mark.once
@pytest.mark.long
def test_every_type_of_parameter_has_a_value_that_resolves(walked):
    found, _skipped = walked
    assert found.keys() >= OTHER_THAN_OURS
    # walk() has resolved each of these to its view.
    assert found["/articles/<yyyy:year>/<slug:slug>/<path:rest>"].parameters == {
        "year": "yyyy",
        "slug": "slug",
        "rest": "path",
    }
    assert re.fullmatch(r"/articles/\d{4}/1/1", found["/articles/<yyyy:year>/<slug:slug>/<path:rest>"].path())
    assert re.fullmatch(r"/api/codes/[A-Z]{3}-\d\d/", found["/api/^codes/(?P<pk>[A-Z]{3}-[0-9]{2})/$"].path())
    assert found["/text/<str:text>/{braces}/"].path() == "/text/MQ/{braces}/"
    assert len([route for route in found if route.startswith("/api/plain/") or "format" in route]) >= 4
    assert found["/api/^things\\.(?P<format>[a-z0-9]+)/?$"].path() == "/api/things.json"


@pytest.mark.once
@pytest.mark.long
def test_given_values_replace_the_parameters(walked):
    found, _skipped = walked
    assert found["/api/^things/(?P<pk>[^/.]+)/$"].path(pk=42) == "/api/things/42/"
    assert found["/shop/<slug:shop>/<slug:slug>/"].path(slug="x") == "/shop/1/x/"
    place = found["/shop/<slug:shop>/^(?P<number>[0-9]{3})/(?P<letter>[a-f])/$"]
    assert place.path(number="123", letter="b") == "/shop/1/123/b/"


@pytest.mark.once
@pytest.mark.long
def test_views_of_adopters_are_not_ours(walked):
    found, _skipped = walked
    assert not any(found[route].is_ours for route in OTHER_THAN_OURS)
    # An adopter may have added pages to project.urls, as the README does.
    ours = [place for place in urls.walk("project.urls")[0] if place.route.startswith(OURS_ONLY)]
    assert len(ours) > 20
    assert all(place.is_ours for place in ours)


@pytest.mark.once
@pytest.mark.long
def test_skipped_urls_are_reported_with_the_reason(walked):
    _found, skipped = walked
    assert skipped.keys() == {"/weekdays/<weekday:day>/", "/hidden/"}
    assert "takes none of our samples" in skipped["/weekdays/<weekday:day>/"]
    assert skipped["/hidden/"] == "another view answers at /hidden/"


@pytest.mark.once
@pytest.mark.long
def test_it_warns_about_skipped_urls(settings):
    settings.ROOT_URLCONF = __name__
    with warnings.catch_warnings(record=True) as said:
        urls.all_urls()
    assert sorted(str(each.message).partition(" (")[0] for each in said) == [
        "Not tried: /hidden/",
        "Not tried: /weekdays/<weekday:day>/",
    ]


def test_no_url_of_the_project_is_skipped():
    found, skipped = urls.walk()
    assert len(found) > 90
    assert not skipped
