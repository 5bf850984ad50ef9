"""The URLs of the stock Django project."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from tests.benchmarks.site.startproject import views
from tests.benchmarks.site.views import Anyone, WhoAmI


def live(request: HttpRequest) -> HttpResponse:
    return HttpResponse("up")


urlpatterns = [
    path("api/whoami/", WhoAmI.as_view()),
    path("api/anyone/", Anyone.as_view()),
    path("api/me/", views.MeView.as_view()),
    path("", views.HomeView.as_view(), name="home"),
    path("devices/", views.DeviceListView.as_view(), name="devices"),
    path("accounts/", include("django.contrib.auth.urls")),
    path("admin/", admin.site.urls),
    path("health/live", live),
]
