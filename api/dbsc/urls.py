"""The URLs of DBSC, below /dbsc/."""

from django.urls import path

from api.dbsc import views

urlpatterns = [
    path("registration/", views.RegistrationView.as_view(), name="dbsc_registration"),
    path("refresh/", views.RefreshView.as_view(), name="dbsc_refresh"),
]
