"""The views that a stock project has to write itself."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST
from django.views.generic import TemplateView
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken


def live(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


class HomeView(LoginRequiredMixin, TemplateView):
    template_name = "home.html"


class MeView(APIView):
    def get(self, request: Request) -> Response:
        return Response({"id": request.user.pk, "username": request.user.get_username()})


class TokenSerializer(serializers.ModelSerializer):
    class Meta:
        model = OutstandingToken
        fields = ("id", "jti", "created_at", "expires_at")


class TokenListView(ListAPIView):
    """The refresh tokens of the user that SimpleJWT has stored and not blacklisted."""

    serializer_class = TokenSerializer

    def get_queryset(self) -> Any:
        live = OutstandingToken.objects.filter(expires_at__gt=timezone.now(), blacklistedtoken=None)
        return live.filter(user=self.request.user).order_by("-created_at")


class EndOtherTokensView(APIView):
    """Blacklists one by one, as SimpleJWT's documentation and its issues recommend."""

    def post(self, request: Request) -> Response:
        for token in OutstandingToken.objects.filter(user=request.user).exclude(jti=request.data["jti"]):
            BlacklistedToken.objects.get_or_create(token=token)
        return Response()


@require_POST
@login_required
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    """Decodes every session, since Django's table of sessions does not have the user."""
    for session in Session.objects.filter(expire_date__gt=timezone.now()).exclude(pk=request.session.session_key):
        if session.get_decoded().get("_auth_user_id") == str(request.user.pk):
            session.delete()
    return HttpResponse()
