"""Step-up in views of an adopter: the permission and the page mixin, with a level and an age."""

from datetime import timedelta

import pytest
from django.test import override_settings
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import SignIn
from accounts.views.sign_in import ReauthenticationRequiredMixin
from api.step_up import RecentAuthentication
from project.urls import urlpatterns as project_urls
from tests.second_factors import add_app

pytestmark = pytest.mark.django_db


class PaymentView(APIView):
    permission_classes = (IsAuthenticated, RecentAuthentication.of(level=2, within=timedelta(minutes=5)))

    def get(self, request):
        return Response({})

    post = get


class StandardPaymentView(PaymentView):
    permission_classes = (IsAuthenticated, RecentAuthentication.of(level=2, status_code=401, exempt_methods=()))


class PaymentPage(ReauthenticationRequiredMixin, APIView):
    level = 2
    authentication_classes = ()
    permission_classes = ()

    def get(self, request):
        return Response({})


urlpatterns = [
    path("api/payments/", PaymentView.as_view()),
    path("api/standard-payments/", StandardPaymentView.as_view()),
    path("payments/", PaymentPage.as_view()),
    *project_urls,
]


@pytest.fixture(autouse=True)
def adopter():
    with override_settings(ROOT_URLCONF="tests.api.test_step_up"):
        yield


def test_a_sign_in_of_level_1_gets_the_methods_and_the_challenge(hers):
    response = hers.post("/api/payments/")
    assert (response.status_code, response.json()["code"]) == (403, "recent_sign_in_required")
    assert 'acr_values="aal2", max_age="300"' in response.headers["WWW-Authenticate"]


def test_a_recent_sign_in_of_level_2_is_enough(hers):
    add_app(hers)
    assert hers.post("/api/payments/").status_code == 200


def test_the_age_is_that_of_the_view(hers, ann):
    app, _codes = add_app(hers)
    SignIn.objects.update(authenticated_at=SignIn.objects.get().authenticated_at - timedelta(minutes=6))
    assert hers.post("/api/payments/").status_code == 403
    assert hers.post("/api/reauthenticate/", {"code": app.code()}).status_code == 204
    assert hers.post("/api/payments/").status_code == 200


def test_safe_methods_are_exempt_unless_the_view_says_otherwise(hers):
    assert hers.get("/api/payments/").status_code == 200
    assert hers.get("/api/standard-payments/").status_code == 401


def test_a_view_can_answer_as_rfc_9470_does(hers):
    response = hers.post("/api/standard-payments/")
    assert (response.status_code, response.json()["code"]) == (401, "recent_sign_in_required")
    assert 'error="insufficient_user_authentication"' in response.headers["WWW-Authenticate"]


def test_a_page_with_a_level_redirects_to_the_confirmation(browser_of, client_of, ann):
    browser = browser_of(ann)
    add_app(client_of(ann))
    response = browser.get("/payments/")
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/accounts/confirm/")


def test_without_a_factor_a_page_with_a_level_redirects_to_add_one(browser_of, ann):
    response = browser_of(ann).get("/payments/")
    assert (response.status_code, response.headers["Location"]) == (302, "/accounts/security/")


def test_the_permission_takes_one_statement(hers, django_assert_num_queries):
    add_app(hers)
    # The other one reads the blocklist: the mirror of a test is not current.
    with django_assert_num_queries(2):
        hers.post("/api/payments/")


CHANGE = {"old_password": "violet anchor hums at dawn", "new_password": "quiet copper lantern drifts"}


def test_with_a_second_factor_the_old_password_alone_changes_nothing(hers, client_of, ann):
    earlier = client_of(ann)
    add_app(hers)
    response = earlier.post("/api/password/change/", CHANGE)
    assert (response.status_code, response.json()["code"]) == (403, "recent_sign_in_required")
    ann.refresh_from_db()
    assert ann.check_password(CHANGE["old_password"])


def test_with_a_second_factor_the_password_changes_after_its_proof(hers, client_of, ann):
    earlier = client_of(ann)
    app, _codes = add_app(hers)
    assert earlier.post("/api/reauthenticate/", {"code": app.code()}).status_code == 204
    assert earlier.post("/api/password/change/", CHANGE).status_code == 204
