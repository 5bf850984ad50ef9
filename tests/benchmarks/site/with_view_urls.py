from django.urls import include, path

from tests.benchmarks.site.views import WhoAmI

urlpatterns = [path("whoami/", WhoAmI.as_view()), path("", include("project.urls"))]
