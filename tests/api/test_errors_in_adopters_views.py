"""Exceptions in an adopter's view: each gets its own status, and none signs a client out."""

import logging

import pytest
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied, ValidationError
from django.db import IntegrityError, OperationalError, connection, transaction
from django.http import Http404
from django.urls import include, path
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.exceptions import InvalidToken

from accounts import passwords
from accounts.models import SignIn, User
from accounts.rate_limits import TooManyAttempts

pytestmark = pytest.mark.django_db


class PaymentRequired(exceptions.APIException):
    status_code = 402
    default_detail = "Pay first."
    default_code = "payment_required"


class WithoutCode(PaymentRequired):
    def __init__(self):
        self.detail = "Pay 7."


class Nested(PaymentRequired):
    def __init__(self):
        self.detail = {"detail": {"amount": ["Pay", "7."]}, "code": 42}


class Raising(APIView):
    """Raises the exception of the test."""

    error = None

    def get(self, request):
        raise self.error


class Asking(APIView):
    """Runs the function of the test."""

    do = None

    def get(self, request):
        return Response(type(self).do(request))


class OfOthers(APIView):
    """An adopter's view without authentication."""

    authentication_classes = ()
    permission_classes = ()

    def get(self, request):
        raise InvalidToken


urlpatterns = [
    path("", include("project.urls")),
    path("api/raising/", Raising.as_view()),
    path("api/asking/", Asking.as_view()),
    path("api/others/", OfOthers.as_view()),
]
handler404, handler500 = "project.error_pages.not_found", "project.error_pages.server_error"


@pytest.fixture
def client(settings, client_of, ann):
    settings.ROOT_URLCONF = __name__
    client = client_of(ann)
    client.http.raise_request_exception = False
    return client


@pytest.fixture
def answer_to(client, monkeypatch):
    def ask(error):
        monkeypatch.setattr(Raising, "error", error)
        answer = client.get("/api/raising/")
        body = answer.json()
        assert isinstance(body["detail"], str)
        assert isinstance(body["code"], str)
        assert client.get("/api/me/").status_code == 200
        return answer.status_code, body["code"], body["detail"]

    return ask


NOT_FOUND, DENIED = "not_found", "permission_denied"
DENIED_BY_DEFAULT = "You do not have permission to perform this action."


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (PermissionDenied, (403, DENIED, DENIED_BY_DEFAULT)),
        (PermissionDenied("Only on weekdays."), (403, DENIED, "Only on weekdays.")),
        (PermissionDenied(_("Only on weekdays.")), (403, DENIED, "Only on weekdays.")),
        (PermissionDenied(["Only", "on weekdays."]), (403, DENIED, "Only on weekdays.")),
        (PermissionDenied({"day": ["Only on weekdays."]}), (403, DENIED, "Only on weekdays.")),
        (PermissionDenied("Only", "on", "weekdays."), (403, DENIED, "Only on weekdays.")),
        (PermissionDenied([]), (403, DENIED, DENIED_BY_DEFAULT)),
        (PermissionDenied(None), (403, DENIED, DENIED_BY_DEFAULT)),
        (PermissionDenied(7), (403, DENIED, "7")),
        (Http404, (404, NOT_FOUND, "Not found.")),
        (Http404(["No", "such", _("page")]), (404, NOT_FOUND, "No such page")),
        (Http404({"path": "x", "tried": ()}), (404, NOT_FOUND, "x")),
        (Http404("a", "b", "c"), (404, NOT_FOUND, "a b c")),
        (PaymentRequired, (402, "payment_required", "Pay first.")),
        (PaymentRequired(["Pay", "7."]), (402, "payment_required", "Pay 7.")),
        (PaymentRequired({"amount": ["Pay 7."]}, "amount_due"), (402, "amount_due", "Pay 7.")),
        (PaymentRequired([]), (402, "payment_required", "Pay first.")),
        (PaymentRequired({}), (402, "payment_required", "Pay first.")),
        (WithoutCode(), (402, "payment_required", "Pay 7.")),
        (Nested(), (402, "payment_required", "Pay 7.")),
        (exceptions.NotAuthenticated(["Who", "are you?"]), (401, "not_authenticated", "Who are you?")),
        (exceptions.PermissionDenied("Not yours.", "token_not_valid"), (403, "token_not_valid", "Not yours.")),
        (exceptions.ValidationError("Seven only."), (400, "invalid", "The input is not valid.")),
    ],
    ids=repr,
)
def test_exceptions_of_other_code_get_their_own_status(answer_to, error, answer):
    assert answer_to(error) == answer


@pytest.mark.parametrize(
    "error",
    [
        User.DoesNotExist,
        SignIn.DoesNotExist,
        User.MultipleObjectsReturned,
        ObjectDoesNotExist("No such thing"),
        ValidationError({"name": ["Too long."]}),
        IntegrityError("duplicate key"),
        KeyError("x"),
    ],
    ids=repr,
)
def test_an_error_in_an_adopters_view_is_a_logged_500(answer_to, caplog, error):
    assert answer_to(error)[:2] == (500, "error")
    assert [each for each in caplog.records if each.levelno == logging.ERROR and each.exc_info]


def test_a_missing_user_in_a_view_does_not_sign_the_caller_out(client, monkeypatch):
    monkeypatch.setattr(Asking, "do", lambda request: User.objects.get(username="nobody").pk)
    assert client.get("/api/asking/").status_code == 500
    assert client.get("/api/me/").status_code == 200
    assert client.renew().status_code == 200


def test_a_caller_deleted_during_the_view_is_signed_out(client, monkeypatch, ann):
    def delete_and_go_on(request):
        User.objects.get(pk=request.user.pk).delete()
        return request.user.email

    monkeypatch.setattr(Asking, "do", delete_and_go_on)
    answer = client.get("/api/asking/")
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_ended")
    assert 'error="invalid_token"' in answer["WWW-Authenticate"]


def test_too_many_attempts_in_an_adopters_view_are_429(client, monkeypatch, ann):
    def guess(request):
        for _guess in range(9):
            try:
                passwords.reauthenticate(request, "not the right passphrase")
            except TooManyAttempts:
                raise
            except ValidationError:
                pass

    monkeypatch.setattr(Asking, "do", guess)
    answer = client.get("/api/asking/")
    assert (answer.status_code, answer.json()["code"]) == (429, "throttled")
    assert int(answer["Retry-After"]) >= 1
    assert issubclass(TooManyAttempts, ValidationError)


def test_a_bad_token_refused_by_a_view_without_authentication_is_403(client):
    answer = client.get("/api/others/")
    assert (answer.status_code, answer.json()["code"]) == (403, "token_not_valid")


def test_an_invalid_statement_is_not_reported_as_an_outage(client, monkeypatch, transactional_db):
    def ask(request):
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM no_such_table")

    monkeypatch.setattr(Asking, "do", ask)
    answer = client.get("/api/asking/")
    assert (answer.status_code, answer.json()["code"]) == (500, "error")


def test_a_broken_transaction_is_not_reported_as_an_outage(client, monkeypatch, transactional_db):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite goes on after a statement that failed")

    def ask(request):
        with transaction.atomic(), connection.cursor() as cursor:
            try:
                cursor.execute("SELECT 1 / 0")
            except Exception:
                cursor.execute("SELECT 1")

    monkeypatch.setattr(Asking, "do", ask)
    assert client.get("/api/asking/").status_code == 500


def test_an_unavailable_database_is_503(answer_to):
    assert answer_to(OperationalError("could not connect"))[:2] == (503, "unavailable")
