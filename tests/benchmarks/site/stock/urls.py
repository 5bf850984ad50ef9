"""The URLs of the stock project: at the paths at which this project has the same."""

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import path
from rest_framework_simplejwt import views as simplejwt

from tests.benchmarks.site.stock import views

urlpatterns = [
    path("", views.HomeView.as_view()),
    path("accounts/login/", LoginView.as_view()),
    path("accounts/end-others/", views.end_other_sessions),
    path("admin/", admin.site.urls),
    path("api/token/", simplejwt.token_obtain_pair),
    path("api/token/refresh/", simplejwt.token_refresh),
    path("api/token/blacklist/", simplejwt.token_blacklist),
    path("api/me/", views.MeView.as_view()),
    path("api/sign-ins/", views.TokenListView.as_view()),
    path("api/sign-ins/end-others/", views.EndOtherTokensView.as_view()),
    path("health/live", views.live),
]
