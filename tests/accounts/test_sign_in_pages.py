"""The list of sign-ins and its pages: rows, ended sign-ins, ends and names."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from accounts import starting
from accounts.models import SignIn, User
from tests.accounts.conftest import FIREFOX, text_of

pytestmark = pytest.mark.django_db

PAGE = "/accounts/sign-ins/"
ENDED = "/accounts/sign-ins/ended/"


@pytest.fixture
def start(ann):
    """Returns a function that starts another sign-in of Ann."""

    def start(user=ann, kind=SignIn.Kind.CLIENT, user_agent="curl/8.9.1", **fields):
        sign_in = starting.start(User.objects.get(pk=user.pk), kind)
        SignIn.objects.filter(pk=sign_in.pk).update(user_agent=user_agent, **fields)
        return SignIn.objects.get(pk=sign_in.pk)

    return start


def rows(response):
    return re.findall(r'<li class="card.*?</li>', response.content.decode(), re.DOTALL)


def is_live(sign_in):
    return SignIn.objects.filter(pk=sign_in.pk).live().exists()


def test_a_sign_in_writes_the_time_once(browser, ann, password):
    with CaptureQueriesContext(connection) as statements:
        browser().post("/accounts/login/", {"username": ann.username, "password": password})
    assert len([each for each in statements if 'UPDATE "accounts_user"' in each["sql"]]) == 1


# Rows


@pytest.mark.parametrize("word", ["Firefox on Windows", "browser", "this device", "192.0.2.7", "Sign out"])
def test_the_row_of_this_device_describes_it(here, word):
    assert word in rows(here.get(PAGE))[0]


def test_the_row_of_a_client_has_a_description_and_a_button(here, start):
    start()
    row = rows(here.get(PAGE))[1]
    assert re.search(r"<strong>curl</strong>", row)
    assert "client" in row
    assert 'aria-label="Sign out: curl, since ' in row


def test_this_device_is_first_even_if_others_were_seen_later(clock, here, start):
    clock.shift(timedelta(minutes=3))
    start()
    assert "this device" in rows(here.get(PAGE))[0]


def test_times_are_relative_and_exact_on_hover(clock, here):
    clock.shift(timedelta(minutes=3))
    row = rows(here.get(PAGE))[0]
    began = SignIn.objects.get().created_at
    assert f'datetime="{began.isoformat()}"' in row
    assert re.search(r'title="[^"]* UTC">3 minutes ago', row)


def test_the_whole_user_agent_is_in_a_disclosure(here):
    assert re.search(rf"<details>.*{re.escape(FIREFOX)}.*</details>", rows(here.get(PAGE))[0], re.DOTALL)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_the_user_agent_and_the_name_are_escaped(here, start, hostile):
    start(user_agent=hostile, name=hostile[:60])
    page = here.get(PAGE).content.decode()
    assert hostile not in page
    assert escape(hostile) in page


def test_the_only_sign_in_offers_no_end_of_others(here):
    assert "You are signed in only here." in text_of(here.get(PAGE))
    assert "/end-others/" not in here.get(PAGE).content.decode()


def test_ending_the_others_asks_for_confirmation(here, start):
    others = [start(), start()]
    page = here.get(PAGE).content.decode()
    assert not re.search(r"<form[^>]*end-others", page)
    assert re.search(r'<a [^>]*href="/accounts/sign-ins/end-others/"', page)
    question = here.get("/accounts/sign-ins/end-others/")
    assert "2 other browsers and apps are signed out at once." in text_of(question)
    assert all(map(is_live, others))
    here.post("/accounts/sign-ins/end-others/")
    assert not any(map(is_live, others))


def test_sign_ins_are_counted_by_kind(here, start):
    start()
    start()
    start(kind=SignIn.Kind.BROWSER)
    assert "All 4 Browsers 2 Apps 2 Ended" in text_of(here.get(PAGE))


def test_sign_ins_are_counted_in_german(here, start):
    start()
    assert "Alle 2 Browser 1 Apps 1 Beendet" in text_of(here.get(PAGE, headers={"accept-language": "de"}))


def test_one_kind_is_shown_with_the_counts_of_all(here, start):
    start(name="backup script")
    clients, browsers = here.get(f"{PAGE}?kind=client"), here.get(f"{PAGE}?kind=browser")
    assert [len(rows(page)) for page in (clients, browsers)] == [1, 1]
    assert "backup script" in rows(clients)[0]
    assert "this device" in rows(browsers)[0]
    assert "All 2 Browsers 1 Apps 1 Ended" in text_of(clients)


def test_an_unknown_kind_is_not_found(here):
    assert here.get(f"{PAGE}?kind=robot").status_code == 404


def test_a_page_of_one_kind_leads_to_the_next_of_that_kind(here, start):
    for _ in range(26):
        start()
    page = here.get(f"{PAGE}?kind=client").content.decode()
    assert 'href="?kind=client&amp;page=2" rel="next"' in page
    assert len(rows(here.get(f"{PAGE}?kind=client&page=2"))) == 1


def test_without_a_client_the_page_offers_to_connect_one(here):
    assert "No app uses your account. Connect an app" in text_of(here.get(f"{PAGE}?kind=client"))


def test_sign_ins_of_other_users_are_not_listed(here, start, bob):
    start(user=bob, user_agent="bobs-program/1.0")
    assert "bobs-program" not in here.get(PAGE).content.decode()


def test_the_page_lists_25_sign_ins(here, start):
    for _ in range(25):
        start()
    first = text_of(here.get(PAGE))
    assert "page 1 of 2" in first
    assert "All 26" in first
    assert len(rows(here.get(PAGE))) == 25
    assert len(rows(here.get(f"{PAGE}?page=2"))) == 1


@pytest.mark.parametrize("number", ["0", "99", "x", "-1"])
def test_an_invalid_page_number_is_not_found(here, number):
    assert here.get(f"{PAGE}?page={number}").status_code == 404


@pytest.mark.parametrize(("path", "number"), [(PAGE, 3), (f"{PAGE}?kind=client", 3), (ENDED, 4)])
def test_the_statements_do_not_grow_with_the_rows(here, start, django_assert_num_queries, path, number):
    for _ in range(10):
        start()
        start().end(SignIn.Reason.ENDED_BY_USER)
    here.get(path)
    # The session, the counts of all kinds, the page; for ended sign-ins also their count.
    with django_assert_num_queries(number):
        here.get(path)


def test_buttons_of_equal_devices_have_different_names(here, start):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for address in ("203.0.113.7", "203.0.113.8"):
            start(ip_address=address)
        clock.shift(timedelta(seconds=1))
        start(ip_address="203.0.113.8")
        page = here.get(PAGE).content.decode()
    for verb in ("Sign out:", "Rename"):
        names = re.findall(rf'aria-label="({verb} curl, [^"]+)"', page)
        assert len(set(names)) == 3, names


def test_the_longest_page_stays_under_64_kilobytes(here, start):
    for _ in range(30):
        start(user_agent="x" * 512, name="n" * 60)
        start(user_agent="x" * 512, name="n" * 60).end(SignIn.Reason.ENDED_BY_USER)
    assert len(here.get(PAGE).content) < 64_000


# Ended sign-ins


def test_an_ended_sign_in_is_listed_with_its_reason(here, start):
    start().end(SignIn.Reason.TOKEN_REUSED)
    assert "curl refresh token used twice App · ended just now" in text_of(here.get(ENDED))


def test_an_expired_sign_in_is_listed(clock, here, start):
    start(expires_at=timezone.now() + timedelta(minutes=1))
    clock.shift(timedelta(minutes=2))
    assert "unused for too long" in text_of(here.get(ENDED))


def test_a_live_sign_in_is_not_listed_as_ended(here):
    assert "No sign-in has ended in this time." in text_of(here.get(ENDED))


def test_after_the_time_of_keeping_no_ended_sign_in_is_listed(clock, settings, browser_of, ann, start):
    settings.SIGN_IN_KEEP = timedelta(days=7)
    start().end(SignIn.Reason.TOKEN_REUSED)
    clock.shift(timedelta(days=6, hours=23))
    assert "refresh token used twice" in text_of(browser_of(ann).get(ENDED))
    clock.shift(timedelta(hours=2))
    page = text_of(browser_of(ann).get(ENDED))
    assert "ended in the last 7 days" in page
    assert "refresh token used twice" not in page


def test_ended_sign_ins_have_pages_the_latest_first(clock, here, start):
    ended = [start(name=f"app {number}") for number in range(26)]
    for sign_in in ended:
        clock.shift(timedelta(seconds=1))
        sign_in.end(SignIn.Reason.ENDED_BY_USER)
    first, second = here.get(ENDED), here.get(f"{ENDED}?page=2")
    assert [len(rows(first)), len(rows(second))] == [25, 1]
    assert "app 25" in rows(first)[0]
    assert "app 0" in rows(second)[0]


def test_ended_sign_ins_of_other_users_are_not_listed(here, start, bob):
    start(user=bob, user_agent="bobs-program/1.0").end(SignIn.Reason.ENDED_BY_USER)
    assert "bobs-program" not in here.get(ENDED).content.decode()


# Details


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"methods": "password totp"}, "Confirmed by password, authenticator app"),
        ({"audience": "billing"}, "Tokens for billing"),
        ({"key_thumbprint": "x" * 43}, "bound to the key of the app (DPoP)"),
        ({"ip_address": "203.0.113.7"}, "IP address 203.0.113.7"),
        ({"name": "backup script"}, "Device curl"),
    ],
)
def test_the_details_of_a_sign_in_are_folded(here, start, fields, shown):
    start(**fields)
    folded = re.search(r"<details>.*</summary>(.*)</details>", rows(here.get(PAGE))[1], re.DOTALL)[1]
    assert shown in re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", folded)).replace("  ", " ")


def test_an_approximate_place_replaces_the_address_in_the_row(here, start, places_database):
    start(ip_address=places_database.LONDON)
    start(ip_address=places_database.PRIVATE)
    page = here.get(PAGE)
    summaries = {summary for row in rows(page) for summary in re.findall(r"<summary>.*</summary>", row)}
    assert len([each for each in summaries if "London, United Kingdom" in each]) == 1
    assert len([each for each in summaries if places_database.LONDON in each]) == 0
    assert f"<samp>{places_database.LONDON}</samp>" in page.content.decode()
    assert "London, United Kingdom (approximate, by the IP address)" in text_of(page)


def test_ended_sign_ins_have_places(here, start, places_database):
    start(ip_address=places_database.JAPAN).end(SignIn.Reason.ENDED_BY_USER)
    assert "Japan" in rows(here.get(ENDED))[0]


# Ends


def test_ending_a_sign_in_shows_its_name(here, start):
    other = start()
    response = here.post(f"{PAGE}{other.pk}/end/", follow=True)
    assert not is_live(other)
    assert "Signed out: curl." in text_of(response)


def test_the_message_shows_the_name_of_the_client(here, start):
    other = start(name="backup script")
    assert "Signed out: backup script." in text_of(here.post(f"{PAGE}{other.pk}/end/", follow=True))


def test_a_get_of_the_end_page_ends_no_sign_in(here, start):
    other = start()
    assert here.get(f"{PAGE}{other.pk}/end/").status_code == 200
    assert is_live(other)


def test_ending_a_sign_in_twice_is_no_error(here, start):
    other = start()
    for _ in range(2):
        assert here.post(f"{PAGE}{other.pk}/end/").status_code == 302


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_sign_in_of_another_user_is_not_found(here, start, bob, method):
    bobs = start(user=bob)
    assert getattr(here, method)(f"{PAGE}{bobs.pk}/end/").status_code == 404
    assert is_live(bobs)


def test_ending_the_current_sign_in_signs_out(here):
    here.post(f"{PAGE}{SignIn.objects.get().pk}/end/")
    assert here.get(PAGE).status_code == 302


def test_ending_all_others_keeps_this_one_and_shows_the_count(here, start):
    start()
    start()
    assert "2 others were signed out." in text_of(here.post(f"{PAGE}end-others/", follow=True))
    assert SignIn.objects.live().count() == 1


def test_signing_out_everywhere_ends_this_sign_in_too(here, start):
    start()
    response = here.post(f"{PAGE}end-all/")
    assert "2 browsers and apps were signed out" in text_of(response)
    assert response.headers["Clear-Site-Data"] == '"cache"'
    assert not SignIn.objects.live().exists()
    assert here.get(PAGE).status_code == 302


@pytest.mark.parametrize("path", ["end-others/", "end-all/"])
def test_a_get_request_ends_no_sign_in(here, start, path):
    start()
    here.get(f"{PAGE}{path}")
    assert SignIn.objects.live().count() == 2


@pytest.mark.parametrize("path", ["end-others/", "end-all/", "{pk}/end/", "{pk}/name/"])
def test_every_change_requires_a_csrf_token(here, start, path):
    other = start()
    here.handler.enforce_csrf_checks = True
    assert here.post(PAGE + path.format(pk=other.pk), {"name": "x"}).status_code == 403
    assert is_live(other)


# Names


def test_a_client_can_be_given_a_name(here, start):
    other = start()
    response = here.post(f"{PAGE}{other.pk}/name/", {"name": "backup script"}, follow=True)
    assert "Saved: backup script." in text_of(response)
    assert "<strong>backup script</strong>" in rows(response)[1]


def test_a_browser_can_be_given_a_name(here):
    response = here.post(f"{PAGE}{SignIn.objects.get().pk}/name/", {"name": "work laptop"}, follow=True)
    assert "<strong>work laptop</strong>" in rows(response)[0]
    assert "Device Firefox on Windows" in text_of(response)


def test_a_name_writes_one_column(here):
    sign_in = SignIn.objects.get()
    with CaptureQueriesContext(connection) as statements:
        here.post(f"{PAGE}{sign_in.pk}/name/", {"name": "work laptop"})
    [update] = [each["sql"] for each in statements if each["sql"].startswith("UPDATE")]
    assert re.search(r"""SET "name" = (%s|'work laptop') WHERE""", update)


def test_an_empty_name_removes_the_name(here, start):
    other = start(name="backup script")
    here.post(f"{PAGE}{other.pk}/name/", {"name": ""})
    assert SignIn.objects.get(pk=other.pk).label == "curl"


@pytest.mark.parametrize("bad", ["x" * 61, "a\x00b", "two\nlines", "\u202etxet"])
def test_a_bad_name_is_refused(here, start, bad):
    other = start()
    assert here.post(f"{PAGE}{other.pk}/name/", {"name": bad}).status_code == 200
    assert SignIn.objects.get(pk=other.pk).name == ""


def test_an_ended_sign_in_cannot_be_given_a_name(here, start):
    other = start()
    other.end(SignIn.Reason.ENDED_BY_USER)
    assert here.post(f"{PAGE}{other.pk}/name/", {"name": "x"}).status_code == 404


def test_a_client_of_another_user_cannot_be_given_a_name(here, start, bob):
    bobs = start(user=bob)
    assert here.post(f"{PAGE}{bobs.pk}/name/", {"name": "x"}).status_code == 404


def test_a_name_changes_no_other_column(here, start):
    other = start()
    before = SignIn.objects.filter(pk=other.pk).values("authenticated_at", "refresh_id", "expires_at").get()
    here.post(f"{PAGE}{other.pk}/name/", {"name": "x"})
    assert SignIn.objects.filter(pk=other.pk).values("authenticated_at", "refresh_id", "expires_at").get() == before


def test_the_session_key_is_not_on_the_page(here):
    assert here.cookies[settings.SESSION_COOKIE_NAME].value not in here.get(PAGE).content.decode()
