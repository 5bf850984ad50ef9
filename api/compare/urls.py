"""The URLs of the page that compares both modes."""

from django.urls import path

from api.compare import views

urlpatterns = [
    path("", views.CompareView.as_view(), name="compare"),
    path("token/", views.InspectView.as_view(), name="compare_token"),
    path("throw-away/", views.ThrowAwayView.as_view(), name="compare_throw_away"),
    path("client/", views.ClientView.as_view(), name="compare_client"),
    path("alarm/", views.AlarmView.as_view(), name="compare_alarm"),
    path("copied/", views.CopiedView.as_view(), name="compare_copied"),
    path("who/", views.WhoView.as_view(), name="compare_who"),
]
