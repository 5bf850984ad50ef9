"""Idioms of Django's documentation in views of adopters: the acting sign-in stays valid, the others end."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import alogin, aupdate_session_auth_hash, login, update_session_auth_hash
from django.contrib.auth import views as auth_views
from django.contrib.auth.tokens import default_token_generator
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from accounts import ending
from accounts.models import SignIn, SignInRefused, User
from tests.conftest import ApiClient, Browser

NEW_PASSWORD = "quiet copper lantern drifts"
BACKEND = "accounts.backends.PasswordBackend"


def change_and_keep(request: HttpRequest) -> HttpResponse:
    request.user.set_password(NEW_PASSWORD)
    request.user.save()
    update_session_auth_hash(request, request.user)
    return HttpResponse("done")


def change_a_fresh_copy_and_keep(request: HttpRequest) -> HttpResponse:
    user = User.objects.get(pk=request.user.pk)
    user.set_password(NEW_PASSWORD)
    user.save(update_fields=["password"])
    update_session_auth_hash(request, user)
    return HttpResponse("done")


async def change_and_keep_async(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    user.set_password(NEW_PASSWORD)
    await user.asave()
    await aupdate_session_auth_hash(request, user)
    return HttpResponse("done")


def change_and_log_in(request: HttpRequest) -> HttpResponse:
    user = User.objects.get(pk=request.user.pk)
    user.set_password(NEW_PASSWORD)
    user.save()
    login(request, user)
    return HttpResponse("done")


def register(request: HttpRequest) -> HttpResponse:
    user = User.objects.create(username="newcomer", email="newcomer@example.org")
    user.set_password(NEW_PASSWORD)
    user.save()
    login(request, user)
    return HttpResponse("done")


async def register_async(request: HttpRequest) -> HttpResponse:
    user = await User.objects.acreate(username="newcomer", email="newcomer@example.org")
    user.set_password(NEW_PASSWORD)
    await user.asave()
    await alogin(request, user)
    return HttpResponse("done")


def greet_and_log_in(request: HttpRequest) -> HttpResponse:
    user = User.objects.get(username="ann")
    user.first_name = "Ann"
    user.save()
    login(request, user, backend=BACKEND)
    return HttpResponse("done")


def reactivate_and_log_in(request: HttpRequest) -> HttpResponse:
    user = User.objects.get(username="ann")
    user.is_active = True
    user.set_password(NEW_PASSWORD)
    user.save()
    login(request, user)
    return HttpResponse("done")


def change_of_another(request: HttpRequest) -> HttpResponse:
    user = User.objects.get(username="bob")
    user.set_password(NEW_PASSWORD)
    user.save()
    return HttpResponse("done")


class WhoAmI(APIView):
    def get(self, request: Request) -> Response:
        return Response({"user": request.user.username, "has_auth": request.auth is not None})


class ChangeByAPI(APIView):
    def post(self, request: Request) -> Response:
        request.user.set_password(NEW_PASSWORD)
        request.user.save()
        return Response({})


urlpatterns = [
    path("shop/keep/", change_and_keep),
    path("shop/keep-fresh/", change_a_fresh_copy_and_keep),
    path("shop/keep-async/", change_and_keep_async),
    path("shop/login/", change_and_log_in),
    path("shop/register/", register),
    path("shop/register-async/", register_async),
    path("shop/greet/", greet_and_log_in),
    path("shop/reactivate/", reactivate_and_log_in),
    path("shop/other/", change_of_another),
    path("shop/api/", ChangeByAPI.as_view()),
    path("api/shop/who/", WhoAmI.as_view()),
    path(
        "shop/reset/<uidb64>/<token>/",
        auth_views.PasswordResetConfirmView.as_view(
            post_reset_login=True, post_reset_login_backend=BACKEND, success_url="/", template_name="error.html"
        ),
    ),
    path("", include("project.urls")),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


def is_signed_in(browser: Browser) -> bool:
    return browser.get("/accounts/profile/").status_code == 200


def live(user: User) -> int:
    return SignIn.objects.filter(user=user).live().count()


KEEPS = pytest.mark.parametrize("address", ["/shop/keep/", "/shop/keep-fresh/", "/shop/keep-async/", "/shop/login/"])


@KEEPS
def test_the_browser_that_changes_the_password_stays_signed_in(
    ann: User, browser_of: Callable[[User], Browser], client_of: Callable[[User], ApiClient], address: str
) -> None:
    here, elsewhere, client = browser_of(ann), browser_of(ann), client_of(ann)
    assert here.post(address).status_code == 200
    assert is_signed_in(here)
    assert is_signed_in(here), "the second request after the change"
    assert not is_signed_in(elsewhere)
    assert client.get("/api/me/").status_code == 401
    assert client.renew().status_code == 401
    assert live(ann) == 1
    assert User.objects.get(pk=ann.pk).check_password(NEW_PASSWORD)


@KEEPS
def test_the_cookie_from_before_the_change_is_refused(
    ann: User, browser_of: Callable[[User], Browser], address: str
) -> None:
    here = browser_of(ann)
    thief = Browser()
    thief.cookies.load(here.cookies.output(header=""))
    here.post(address)
    assert not is_signed_in(thief)


def test_the_client_that_changes_the_password_stays_signed_in(
    ann: User, browser_of: Callable[[User], Browser], client_of: Callable[[User], ApiClient]
) -> None:
    here, elsewhere, browser = client_of(ann), client_of(ann), browser_of(ann)
    assert here.post("/shop/api/").status_code == 200
    assert here.get("/api/me/").status_code == 200
    assert here.renew().status_code == 200
    assert elsewhere.get("/api/me/").status_code == 401
    assert not is_signed_in(browser)


@pytest.mark.parametrize("address", ["/shop/register/", "/shop/register-async/"])
def test_an_account_created_in_three_steps_can_log_in(browser: type[Browser], address: str) -> None:
    newcomer = browser()
    assert newcomer.post(address).status_code == 200
    assert is_signed_in(newcomer)


def test_login_works_after_a_save_of_another_field(ann: User, browser: type[Browser]) -> None:
    visitor = browser()
    assert visitor.post("/shop/greet/").status_code == 200
    assert is_signed_in(visitor)
    assert User.objects.get(pk=ann.pk).first_name == "Ann"


def test_login_works_after_reactivation_with_a_new_password(ann: User, browser: type[Browser]) -> None:
    User.objects.filter(pk=ann.pk).update(is_active=False)
    visitor = browser()
    assert visitor.post("/shop/reactivate/").status_code == 200
    assert is_signed_in(visitor)


def test_a_new_password_for_another_user_ends_their_sign_ins(
    ann: User, bob: User, browser_of: Callable[[User], Browser]
) -> None:
    here, bobs = browser_of(ann), browser_of(bob)
    assert here.post("/shop/other/").status_code == 200
    assert is_signed_in(here)
    assert not is_signed_in(bobs)
    assert live(bob) == 0


@pytest.mark.parametrize("is_signed_in_before", [False, True])
def test_djangos_reset_view_can_sign_in_after_a_reset(
    ann: User, browser: type[Browser], browser_of: Callable[[User], Browser], is_signed_in_before: bool
) -> None:
    elsewhere = browser_of(ann)
    here = browser_of(ann) if is_signed_in_before else browser()
    uid = urlsafe_base64_encode(force_bytes(ann.pk))
    token = default_token_generator.make_token(User.objects.get(pk=ann.pk))
    form = here.get(f"/shop/reset/{uid}/{token}/", follow=True).request["PATH_INFO"]
    answer = here.post(form, {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD})
    assert answer.status_code == 302, answer.content.decode()
    assert is_signed_in(here)
    assert not is_signed_in(elsewhere)
    assert live(ann) == 1


def test_an_end_between_the_change_and_login_refuses_the_login(ann: User) -> None:
    user = User.objects.get(pk=ann.pk)
    ending.end_all(User.objects.get(pk=ann.pk), SignIn.Reason.ENDED_BY_STAFF)
    user.set_password(NEW_PASSWORD)
    user.save()
    visitor = Browser()
    with pytest.raises(SignInRefused):
        visitor.force_login(user)


def test_force_login_signs_in(ann: User, browser: type[Browser]) -> None:
    visitor = browser()
    visitor.force_login(ann)
    assert is_signed_in(visitor)
    assert live(ann) == 1


@pytest.mark.parametrize(
    ("method", "address", "expected"),
    [
        ("get", "/api/me/", 200),
        ("patch", "/api/me/", 200),
        ("get", "/api/sign-ins/", 200),
        ("post", "/api/sign-ins/end-others/", 200),
        ("post", "/api/sign-ins/end-all/", 200),
        ("get", "/api/events/", 200),
    ],
)
def test_force_authenticate_works_at_every_endpoint(
    ann: User, browser_of: Callable[[User], Browser], method: str, address: str, expected: int
) -> None:
    elsewhere = browser_of(ann)
    client = APIClient()
    client.force_authenticate(ann)
    answer: Any = getattr(client, method)(address, {} if method != "get" else None, secure=True)
    assert answer.status_code == expected, answer.content
    assert is_signed_in(elsewhere) == ("/end-" not in address)


def test_force_authenticate_changes_the_password(ann: User, password: str) -> None:
    client = APIClient()
    client.force_authenticate(ann)
    answer = client.post("/api/password/change/", {"old_password": password, "new_password": NEW_PASSWORD}, secure=True)
    assert answer.status_code == 204, answer.content
    assert User.objects.get(pk=ann.pk).check_password(NEW_PASSWORD)


def test_request_auth_is_none_for_a_session(
    ann: User, browser_of: Callable[[User], Browser], client_of: Callable[[User], ApiClient]
) -> None:
    assert browser_of(ann).get("/api/shop/who/").json() == {"user": "ann", "has_auth": False}
    assert client_of(ann).get("/api/shop/who/").json() == {"user": "ann", "has_auth": True}


def test_force_authenticate_is_no_session(ann: User) -> None:
    client = APIClient()
    client.force_authenticate(ann)
    assert client.get("/api/shop/who/").json() == {"user": "ann", "has_auth": False}
    for answer in (client.get("/api/session/"), client.post("/api/session/token/", {})):
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_djangos_own_clients_need_no_https(ann: User, password: str) -> None:
    page = Client()
    assert page.get("/accounts/profile/")["Location"] == "/accounts/login/?next=/accounts/profile/"
    assert page.login(username="ann", password=password)
    assert page.get("/accounts/profile/").status_code == 200
    page.logout()
    assert page.get("/accounts/profile/").status_code == 302
    client = APIClient()
    client.force_login(ann)
    assert client.get("/api/me/").json()["username"] == "ann"
    assert client.patch("/api/me/", {"first_name": "Ann"}).status_code == 200
