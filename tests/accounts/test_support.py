"""Sign in as a user, for support: who may, what it shows and refuses, and when it ends."""

import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.db import connection
from django.http import HttpResponse
from django.urls import include, path
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import api_view
from rest_framework.response import Response

from accounts import support
from accounts.models import SecurityEvent, SignIn, User
from tests.accounts.admin_pages import USERS, act
from tests.accounts.support_pages import CHANGE, END, READ, make_supporter, sign_in_as
from tests.accounts.test_session_pages import PROFILE
from tests.conftest import ApiClient, bearer, claims_of

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def note(request):
    return HttpResponse(f"<html><body class='x'>{request.method} by {request.user}</body></html>")


@csrf_exempt
def hook(request):
    return HttpResponse(f"{request.user}", content_type="text/plain")


@api_view(["GET", "POST"])
def api_note(request):
    return Response({"by": request.user.username})


# An adopter's views: their module is not one of the project's.
class Secret(View):
    in_support = False

    def get(self, request):
        return HttpResponse("secret")


for each in (note, hook, Secret):
    each.__module__ = "notes.views"
api_note.cls.__module__ = "notes.views"
urlpatterns = [
    path("", include("project.urls")),
    path("notes/", note),
    path("hook/", hook),
    path("secret/", Secret.as_view()),
    path("api/notes/", api_note),
]
handler403 = "project.error_pages.permission_denied"


@pytest.fixture
def supporter(password):
    return make_supporter("sam", password)


@pytest.fixture
def desk(browser_of, supporter):
    """A browser of the supporter, who is signed in as themselves."""
    return browser_of(supporter)


@pytest.fixture
def supporting(desk, ann):
    """The browser of the supporter, who is signed in as Ann and may read."""
    response = sign_in_as(desk, ann)
    assert response.status_code == 302, response.content.decode()
    return desk


@pytest.fixture
def changing(browser_of, password, ann):
    """The browser of a supporter who is signed in as Ann and may make changes."""
    browser = browser_of(make_supporter("max", password, READ, CHANGE))
    sign_in_as(browser, ann, changes="on")
    return browser


def user_of(browser):
    """Returns the name of the user that the browser is signed in as, or None."""
    return browser.get("/api/session/").json().get("user", {}).get("username")


def support_sign_in():
    return SignIn.objects.exclude(actor_sid=None).get()


def call(browser, method, url):
    """Sends JSON as a page of the site does, with the cookie."""
    return browser.generic(method, url, "{}", "application/json", headers={"sec-fetch-site": "same-origin"})


def token_of(browser):
    response = call(browser, "POST", "/api/session/token/")
    assert response.status_code == 200, response.content.decode()
    return response.json()["access"]


# Who may


def test_a_supporter_signs_in_as_a_user(supporting):
    assert user_of(supporting) == "ann"


def test_without_the_permission_the_action_is_not_offered(browser_of, password, ann):
    browser = browser_of(make_supporter("tim", password, "accounts.end_signin"))
    assert b"sign_in_as" not in browser.get(f"{USERS}{ann.pk}/change/").content
    sign_in_as(browser, ann)
    assert user_of(browser) == "tim"


def test_with_the_permission_the_page_of_the_user_offers_it(desk, ann):
    assert b'value="sign_in_as"' in desk.get(f"{USERS}{ann.pk}/change/").content


@pytest.mark.parametrize("right", ["is_staff", "is_superuser", "is_service"])
def test_nobody_signs_in_as_staff_or_a_service(page, ann, right):
    User.objects.filter(pk=ann.pk).update(**{right: True})
    sign_in_as(page, ann)
    assert user_of(page) == "sue"


def test_nobody_signs_in_as_a_deactivated_user(page, ann):
    User.objects.filter(pk=ann.pk).update(is_active=False)
    sign_in_as(page, ann)
    assert user_of(page) == "sue"


def test_a_reason_is_needed(desk, ann):
    sign_in_as(desk, ann, why="")
    assert user_of(desk) == "sam"


def test_one_user_at_a_time(desk, ann, bob):
    act(desk, USERS, "sign_in_as", ann, bob)
    assert user_of(desk) == "sam"


def test_the_supporter_confirms_first(desk, ann):
    page = act(desk, USERS, "sign_in_as", ann, agree=False)
    assert b"Sign in as this user?" in page.content
    assert user_of(desk) == "sam"


def test_a_recent_proof_is_needed(clock, desk, ann):
    clock.shift(timedelta(minutes=16))
    assert sign_in_as(desk, ann).url.startswith("/accounts/confirm/")
    assert user_of(desk) == "sam"


def test_the_rule_itself_asks_for_a_recent_proof(clock, desk, ann, rf):
    request = rf.get("/")
    request.session = desk.session
    clock.shift(timedelta(minutes=16))
    with pytest.raises(support.SignInRefused):
        support.start(request, ann, "A question.")


def test_without_the_second_permission_there_are_no_changes(desk, ann):
    sign_in_as(desk, ann, changes="on")
    assert support_sign_in().is_read_only


# What is recorded


def test_an_event_names_both_and_the_reason(supporting, ann, supporter):
    event = SecurityEvent.objects.get(type=SecurityEvent.Type.SIGNED_IN_AS)
    assert (event.user, event.actor, event.details["why"]) == (ann, supporter, "The phone was stolen.")
    assert event.sid == support_sign_in().pk


def test_the_user_gets_a_mail(mails_of, desk, ann):
    [mail] = mails_of(lambda: sign_in_as(desk, ann))
    assert mail.to == [ann.email]
    assert "A staff member signed in to your account" in mail.subject
    assert "change nothing" in mail.body


def test_the_mail_says_if_changes_are_possible(mails_of, browser_of, password, ann):
    browser = browser_of(make_supporter("max", password, READ, CHANGE))
    [mail] = mails_of(lambda: sign_in_as(browser, ann, changes="on"))
    assert "make changes for you" in mail.body


def test_the_user_sees_it_on_the_list(supporting, browser_of, ann):
    page = browser_of(ann).get("/accounts/sign-ins/").content.decode()
    assert "Support staff" in page


def test_the_user_does_not_see_the_client_of_the_staff_member(supporting, client_of, ann):
    [listed] = [
        each for each in client_of(ann).get("/api/sign-ins/").json()["results"] if each["device"] == "Support staff"
    ]
    assert listed["ip_address"] is None
    events = client_of(ann).get("/api/events/").json()["results"]
    [event] = [each for each in events if each["type"] == "signed_in_as"]
    assert event["ip_address"] is None


def test_it_is_no_sign_in_of_the_user(supporting, ann):
    assert User.objects.get(pk=ann.pk).last_login is None


def test_a_new_device_of_the_user_is_still_new(mails_of, desk, here, browser_of, ann):
    sign_in_as(desk, ann)
    # Without a User-Agent, as the row of the support sign-in.
    [mail] = mails_of(lambda: browser_of(ann))
    assert "new device" in mail.subject


def test_events_during_support_name_the_staff_member(supporting, ann, supporter):
    supporting.post("/accounts/logout/")
    event = SecurityEvent.objects.filter(user=ann).latest("id")
    assert (event.actor, event.details["reason"]) == (supporter, "support_ended")


# The banner


@pytest.mark.parametrize("url", [PROFILE, "/", "/accounts/sign-ins/", "/no-page/", "/notes/"])
def test_every_page_has_the_banner(supporting, url):
    content = supporting.get(url).content.decode()
    assert re.search(r"<body[^>]*><link[^>]*support.css[^>]*><aside class=\"support-banner\"", content)
    assert "<strong>ann</strong>" in content


def test_other_answers_have_no_banner(supporting):
    assert supporting.get("/hook/").content == b"ann"


def test_pages_of_the_user_have_no_banner(supporting, browser_of, ann):
    assert b"support-banner" not in browser_of(ann).get(PROFILE).content


# What is refused

FORMS = [
    "/accounts/password_change/",
    "/accounts/email/",
    "/accounts/email/cancel/",
    "/accounts/delete/",
    "/accounts/profile/",
    "/accounts/clients/new/",
    "/accounts/security/recovery-codes/",
    "/accounts/security/app/new/",
    "/accounts/security/passkeys/new/",
    "/accounts/security/passkeys/new/options/",
    "/accounts/sign-ins/end-all/",
    "/accounts/sign-ins/end-others/",
    "/accounts/confirm/",
    "/accounts/activity/download/",
    "/accounts/signup/",
    "/accounts/password_reset/",
]
CALLS = [
    ("POST", "/api/password/change/"),
    ("POST", "/api/password/confirm/"),
    ("POST", "/api/reauthenticate/"),
    ("POST", "/api/email/change/"),
    ("DELETE", "/api/email/change/"),
    ("POST", "/api/factors/totp/"),
    ("POST", "/api/factors/passkey/options/"),
    ("POST", "/api/factors/recovery-codes/"),
    ("PATCH", "/api/me/"),
    ("POST", "/api/me/delete/"),
    ("POST", "/api/sign-ins/end-all/"),
]


@pytest.mark.parametrize("url", FORMS)
def test_no_form_of_the_account_can_be_sent(changing, url):
    response = changing.post(url)
    assert response.status_code == 403
    assert "not possible during support" in response.content.decode()


@pytest.mark.parametrize(("method", "url"), CALLS)
def test_no_call_changes_the_account(changing, method, url):
    response = call(changing, method, url)
    assert (response.status_code, response.json()["code"]) == (403, "not_in_support")


@pytest.mark.parametrize(("method", "url"), CALLS)
def test_no_token_changes_the_account(changing, method, url):
    response = ApiClient(token_of(changing)).request(method, url, {})
    assert (response.status_code, response.json()["code"]) == (403, "not_in_support")


@pytest.mark.parametrize("url", ["/accounts/confirm/", "/secret/"])
def test_pages_for_the_user_alone_are_refused(changing, url):
    assert changing.get(url).status_code == 403


def test_a_page_for_the_user_alone_is_open_to_the_user(browser_of, ann):
    assert browser_of(ann).get("/secret/").content == b"secret"


@pytest.mark.parametrize("url", ["/accounts/security/app/", "/accounts/clients/new/", "/accounts/sign-ins/end-all/"])
def test_pages_that_ask_for_a_recent_proof_stay_closed(changing, url):
    assert changing.get(url, follow=True).status_code == 403


def test_the_admin_is_closed(supporting):
    assert supporting.get("/admin/").status_code == 302


def test_a_page_of_an_own_app_can_be_read(supporting):
    assert b"GET by ann" in supporting.get("/notes/").content


@pytest.mark.parametrize("url", ["/notes/", "/hook/", "/api/notes/"])
def test_a_read_only_sign_in_changes_nothing_in_own_apps(supporting, url):
    assert call(supporting, "POST", url).status_code == 403


@pytest.mark.parametrize("url", ["/notes/", "/hook/"])
def test_with_the_second_permission_own_apps_can_be_changed(changing, url):
    assert changing.post(url).status_code == 200


def test_a_supporter_without_the_second_permission_may_change_no_more(changing):
    User.objects.get(username="max").user_permissions.remove(Permission.objects.get(codename="change_as"))
    assert changing.post("/notes/").status_code == 200
    assert b"by AnonymousUser" in changing.post("/notes/").content


# Tokens


def test_a_token_names_the_staff_member(supporting, ann, supporter):
    claims = claims_of(token_of(supporting))
    assert (claims["sub"], claims["act"], claims["scope"]) == (str(ann.pk), {"sub": str(supporter.pk)}, "read")


def test_a_token_proves_nothing_of_the_user(supporting):
    assert {"auth_time", "acr", "amr"}.isdisjoint(claims_of(token_of(supporting)))


def test_a_token_for_changes_has_no_scope(changing):
    assert "scope" not in claims_of(token_of(changing))


def test_a_read_only_token_reads(supporting):
    client = ApiClient(token_of(supporting))
    assert client.get("/api/notes/").json() == {"by": "ann"}
    assert client.post("/api/notes/").json()["code"] == "not_in_support"


def test_a_token_for_changes_changes_own_apps(changing):
    assert ApiClient(token_of(changing)).post("/api/notes/").status_code == 200


def test_introspection_names_the_staff_member(supporting, client_of, staff, supporter):
    form = f"token={token_of(supporting)}"
    url, kind = "/api/token/introspect/", "application/x-www-form-urlencoded"
    answer = supporting.generic("POST", url, form, kind, headers=bearer(client_of(staff).access))
    assert (answer.json()["act"], answer.json()["scope"]) == ({"sub": str(supporter.pk)}, "read")


# The end


def leave(browser, supporter):
    browser.post(END)


def sign_out_own(browser, supporter):
    SignIn.objects.filter(user=supporter).end(SignIn.Reason.SIGNED_OUT)


def deactivate(browser, supporter):
    User.objects.filter(pk=supporter.pk).update(is_active=False)


def demote(browser, supporter):
    User.objects.filter(pk=supporter.pk).update(is_staff=False)


def take_permission(browser, supporter):
    supporter.user_permissions.clear()


def delete_supporter(browser, supporter):
    supporter.delete()


def change_own_password(browser, supporter):
    supporter.set_password("another long secret of nine words")
    supporter.save()


def end_by_raw_sql(browser, supporter):
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_signin SET ended_at = created_at WHERE user_id = %s AND actor_sid IS NULL", [supporter.pk]
        )


ENDS = [
    leave,
    sign_out_own,
    deactivate,
    demote,
    take_permission,
    delete_supporter,
    change_own_password,
    end_by_raw_sql,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_the_session_ends_with_the_staff_member(supporting, supporter, end):
    end(supporting, supporter)
    assert user_of(supporting) != "ann"


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_the_tokens_end_with_the_staff_member(supporting, supporter, end):
    client = ApiClient(token_of(supporting))
    assert client.get("/api/me/").status_code == 200
    end(supporting, supporter)
    assert client.get("/api/me/").status_code == 401


@pytest.mark.parametrize("end", [sign_out_own, deactivate, change_own_password], ids=lambda end: end.__name__)
def test_the_row_ends_with_the_staff_members_own(supporting, supporter, end):
    end(supporting, supporter)
    assert support_sign_in().end_reason == "support_ended"


def test_it_ends_after_thirty_minutes_of_use(clock, supporting):
    for _turn in range(5):
        clock.shift(timedelta(minutes=5))
        assert user_of(supporting) == "ann"
    clock.shift(timedelta(minutes=5))
    assert user_of(supporting) is None


def test_the_user_can_end_it(supporting, client_of, ann):
    assert client_of(ann).delete(f"/api/sign-ins/{support_sign_in().pk}/").status_code == 204
    assert user_of(supporting) is None


def test_a_user_who_becomes_staff_is_no_longer_supported(supporting, ann):
    User.objects.filter(pk=ann.pk).update(is_staff=True)
    assert user_of(supporting) is None


def test_a_new_password_of_the_user_ends_it(supporting, ann):
    ann.set_password("another long secret of nine words")
    ann.save()
    assert user_of(supporting) is None


def test_the_button_returns_to_the_own_sign_in(supporting, ann):
    response = supporting.post(END)
    assert response.url == f"{USERS}{ann.pk}/change/"
    assert user_of(supporting) == "sam"
    assert not supporting.cookies[settings.STAFF_COOKIE_NAME].value


def test_after_the_expiry_the_button_returns_too(clock, supporting):
    clock.shift(timedelta(minutes=31))
    assert b"Return to your own sign-in" in supporting.get("/").content
    supporting.post(END)
    assert user_of(supporting) == "sam"


def test_after_the_own_sign_in_has_ended_the_button_signs_out(supporting, supporter):
    sign_out_own(supporting, supporter)
    supporting.post(END)
    assert user_of(supporting) is None


def test_the_button_does_nothing_for_others(browser_of, ann):
    browser = browser_of(ann)
    browser.post(END)
    assert user_of(browser) == "ann"


def test_support_counts_as_use_of_the_own_sign_in(clock, settings, supporting):
    settings.STAFF_IDLE = timedelta(minutes=10)
    for _turn in range(4):
        clock.shift(timedelta(minutes=6))
        assert user_of(supporting) == "ann"


def test_a_second_factor_of_the_user_is_not_asked_for(settings, desk, ann):
    sign_in_as(desk, ann)
    settings.SECOND_FACTOR = "all"
    User.objects.filter(username="sam").update(is_superuser=True)
    SignIn.objects.filter(actor_sid=None).update(methods="passkey")
    assert user_of(desk) == "ann"


def test_support_does_not_count_against_the_users_limit(settings, clock, client_of, desk, ann):
    settings.SIGN_INS_PER_USER = 1
    client = client_of(ann)
    sign_in_as(desk, ann)
    assert client.get("/api/me/").status_code == 200
    clock.shift(1)
    client_of(ann)
    assert user_of(desk) == "ann"


def test_a_request_takes_five_statements(supporting, django_assert_max_num_queries):
    with django_assert_max_num_queries(5):
        supporting.get("/hook/")


def test_other_sign_ins_take_no_more_statements(browser_of, ann, django_assert_num_queries):
    browser = browser_of(ann)
    with django_assert_num_queries(1):
        browser.post("/hook/")
