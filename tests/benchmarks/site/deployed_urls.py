"""The URLs of the whole project, and before them those of an app, as README.md adds it."""

from django.urls import path

from project.urls import handler400, handler403, handler404, handler500  # noqa: F401
from project.urls import urlpatterns as project_urls
from tests.benchmarks.site.views import Anyone, WhoAmI

urlpatterns = [
    path("api/whoami/", WhoAmI.as_view()),
    path("api/anyone/", Anyone.as_view()),
    *project_urls,
]
