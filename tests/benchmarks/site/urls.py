from django.urls import path
from rest_framework_simplejwt.views import token_refresh

from project import health
from tests.benchmarks.site.views import WhoAmI

urlpatterns = [
    path("health/live", health.live),
    path("whoami/", WhoAmI.as_view()),
    path("api/token/refresh/", token_refresh),
]
