"""Pages and an endpoint of a signed-in user, as Django's and DRF's tutorials write them."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import QuerySet
from django.views.generic import ListView, TemplateView
from rest_framework import generics, serializers

from tests.benchmarks.site.startproject.models import Device


class HomeView(LoginRequiredMixin, TemplateView):
    template_name = "stock/home.html"


class DeviceListView(LoginRequiredMixin, ListView):
    template_name = "stock/devices.html"
    paginate_by = 25

    def get_queryset(self) -> QuerySet[Device]:
        return Device.objects.filter(user=self.request.user).order_by("-last_seen_at")


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = get_user_model()
        fields = ["id", "username", "email", "first_name", "last_name", "date_joined"]


class MeView(generics.RetrieveAPIView):
    serializer_class = UserSerializer

    def get_object(self) -> Any:
        return self.request.user
