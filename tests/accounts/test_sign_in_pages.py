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

pytestmark = pytest.mark.django_db

PAGE = "/accounts/sign-ins/"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0"


@pytest.fixture
def here(browser, ann, password):
    """Ann's browser, a Firefox."""
    firefox = browser(headers={"user-agent": FIREFOX})
    firefox.post("/accounts/login/", {"username": ann.username, "password": password}, REMOTE_ADDR="192.0.2.7")
    return firefox


@pytest.fixture
def start(ann):
    """Returns a function that starts another sign-in of Ann."""

    def start(user=ann, kind=SignIn.Kind.CLIENT, user_agent="curl/8.9.1", **fields):
        sign_in = starting.start(User.objects.get(pk=user.pk), kind)
        SignIn.objects.filter(pk=sign_in.pk).update(user_agent=user_agent, **fields)
        return SignIn.objects.get(pk=sign_in.pk)

    return start


def text(response):
    """Returns the text of a page in one line."""
    main = re.search(r"<main.*</main>", response.content.decode(), re.DOTALL).group()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main)).replace("&#x27;", "'")


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
    assert 'aria-label="End sign-in: curl, since ' in row


def test_this_device_is_first_even_if_others_were_seen_later(clock, here, start):
    clock.shift(timedelta(minutes=3))
    start()
    assert "this device" in rows(here.get(PAGE))[0]


def test_times_are_relative_and_exact_on_hover(clock, here):
    clock.shift(timedelta(minutes=3))
    row = rows(here.get(PAGE))[0]
    began = SignIn.objects.get().created_at
    assert f'datetime="{began.isoformat()}"' in row
    assert re.search(r'title="[^"]* UTC">3\xa0minutes ago', row)


def test_the_whole_user_agent_is_in_a_disclosure(here):
    assert re.search(rf"<details>.*{re.escape(FIREFOX)}.*</details>", rows(here.get(PAGE))[0], re.DOTALL)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_the_user_agent_and_the_name_are_escaped(here, start, hostile):
    start(user_agent=hostile, name=hostile[:60])
    page = here.get(PAGE).content.decode()
    assert hostile not in page
    assert escape(hostile) in page


def test_the_only_sign_in_offers_no_end_of_others(here):
    assert "This is your only sign-in." in text(here.get(PAGE))
    assert "/end-others/" not in here.get(PAGE).content.decode()


def test_ending_the_others_asks_for_confirmation(here, start):
    others = [start(), start()]
    page = here.get(PAGE).content.decode()
    assert not re.search(r"<form[^>]*end-others", page)
    assert re.search(r'<a [^>]*href="/accounts/sign-ins/end-others/"', page)
    question = here.get("/accounts/sign-ins/end-others/")
    assert "2 other sign-ins end at once." in text(question)
    assert all(map(is_live, others))
    here.post("/accounts/sign-ins/end-others/")
    assert not any(map(is_live, others))


def test_other_sign_ins_are_counted(here, start):
    start()
    assert "End the other sign-in" in text(here.get(PAGE))
    start()
    assert "End the 2 other sign-ins" in text(here.get(PAGE))


def test_other_sign_ins_are_counted_in_german(here, start):
    start()
    assert "Die andere Anmeldung beenden" in text(here.get(PAGE, headers={"accept-language": "de"}))
    start()
    assert "Die 2 anderen Anmeldungen beenden" in text(here.get(PAGE, headers={"accept-language": "de"}))


def test_sign_ins_of_other_users_are_not_listed(here, start, bob):
    start(user=bob, user_agent="bobs-program/1.0")
    assert "bobs-program" not in here.get(PAGE).content.decode()


def test_the_page_lists_25_sign_ins(here, start):
    for _ in range(25):
        start()
    first = text(here.get(PAGE))
    assert "page 1 of 2" in first
    assert "End the 25 other sign-ins" in first
    assert len(rows(here.get(PAGE))) == 25
    assert len(rows(here.get(f"{PAGE}?page=2"))) == 1


@pytest.mark.parametrize("number", ["0", "99", "x", "-1"])
def test_an_invalid_page_number_is_not_found(here, number):
    assert here.get(f"{PAGE}?page={number}").status_code == 404


def test_the_page_takes_four_statements_for_any_number_of_rows(here, start, django_assert_num_queries):
    for _ in range(10):
        start()
        start().end(SignIn.Reason.ENDED_BY_USER)
    here.get(PAGE)
    # The session, the count, the page, the ended sign-ins.
    with django_assert_num_queries(4):
        here.get(PAGE)


def test_buttons_of_equal_devices_have_different_names(here, start):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for address in ("203.0.113.7", "203.0.113.8"):
            start(ip_address=address)
        clock.shift(timedelta(seconds=1))
        start(ip_address="203.0.113.8")
        page = here.get(PAGE).content.decode()
    for verb in ("End sign-in:", "Rename"):
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
    assert "Refresh token used twice" in text(here.get(PAGE))


def test_an_expired_sign_in_is_listed(clock, here, start):
    start(expires_at=timezone.now() + timedelta(minutes=1))
    clock.shift(timedelta(minutes=2))
    assert "Unused for too long" in text(here.get(PAGE))


def test_after_30_days_an_ended_sign_in_is_not_listed(clock, browser_of, ann, start):
    start().end(SignIn.Reason.TOKEN_REUSED)
    clock.shift(timedelta(days=30, minutes=1))
    assert "Ended in the last 30 days" not in text(browser_of(ann).get(PAGE))


# Ends


def test_ending_a_sign_in_shows_its_name(here, start):
    other = start()
    response = here.post(f"{PAGE}{other.pk}/end/", follow=True)
    assert not is_live(other)
    assert "Sign-in ended: curl." in text(response)


def test_the_message_shows_the_name_of_the_client(here, start):
    other = start(name="backup script")
    assert "Sign-in ended: backup script." in text(here.post(f"{PAGE}{other.pk}/end/", follow=True))


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
    assert "2 other sign-ins ended." in text(here.post(f"{PAGE}end-others/", follow=True))
    assert SignIn.objects.live().count() == 1


def test_signing_out_everywhere_ends_this_sign_in_too(here, start):
    start()
    response = here.post(f"{PAGE}end-all/")
    assert "2 sign-ins have ended" in text(response)
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
    assert "Saved: backup script." in text(response)
    assert "<strong>backup script</strong>" in rows(response)[1]


def test_an_empty_name_removes_the_name(here, start):
    other = start(name="backup script")
    here.post(f"{PAGE}{other.pk}/name/", {"name": ""})
    assert SignIn.objects.get(pk=other.pk).label == "curl"


@pytest.mark.parametrize("bad", ["x" * 61, "a\x00b", "two\nlines", "\u202etxet"])
def test_a_bad_name_is_refused(here, start, bad):
    other = start()
    assert here.post(f"{PAGE}{other.pk}/name/", {"name": bad}).status_code == 200
    assert SignIn.objects.get(pk=other.pk).name == ""


def test_a_browser_cannot_be_given_a_name(here):
    assert here.post(f"{PAGE}{SignIn.objects.get().pk}/name/", {"name": "x"}).status_code == 404


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
