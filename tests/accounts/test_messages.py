"""Messages for the next page: shown once, to the session in which they were added, in a bounded cookie."""

import pytest
from django.conf import settings
from django.contrib import messages
from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def add(request: HttpRequest) -> HttpResponse:
    for number in range(int(request.GET["times"])):
        messages.info(request, f"{number}: {'long ' * 20}")
    return HttpResponse()


def show(request: HttpRequest) -> HttpResponse:
    return HttpResponse("|".join(str(each) for each in get_messages(request)))


urlpatterns = [path("add/", add), path("show/", show), path("", include("project.urls"))]


def shown(browser):
    return browser.get("/show/").content.decode()


def test_a_message_is_shown_once(browser_of, ann):
    browser = browser_of(ann)
    browser.get("/add/?times=1")
    assert "0: long" in shown(browser)
    assert shown(browser) == ""


def test_the_message_cookie_is_strict(browser_of, ann):
    browser = browser_of(ann)
    morsel = browser.get("/add/?times=1").cookies[settings.MESSAGE_COOKIE_NAME]
    assert (morsel["httponly"], morsel["secure"], morsel["samesite"], morsel["path"]) == (True, True, "Lax", "/")


def test_many_messages_do_not_fill_the_cookie(browser_of, ann):
    browser = browser_of(ann)
    morsel = browser.get("/add/?times=300").cookies[settings.MESSAGE_COOKIE_NAME]
    assert len(morsel.OutputString()) < 2500
    assert "299: long" in shown(browser)


def test_another_session_does_not_show_a_message(browser_of, ann, bob):
    anns, bobs = browser_of(ann), browser_of(bob)
    anns.get("/add/?times=1")
    bobs.cookies[settings.MESSAGE_COOKIE_NAME] = anns.cookies[settings.MESSAGE_COOKIE_NAME].value
    assert shown(bobs) == ""


def test_a_forged_message_is_not_shown(browser_of, ann):
    browser = browser_of(ann)
    browser.get("/add/?times=1")
    morsel = browser.cookies[settings.MESSAGE_COOKIE_NAME]
    browser.cookies[settings.MESSAGE_COOKIE_NAME] = morsel.value[:-2] + "zz"
    assert shown(browser) == ""


@pytest.mark.parametrize("value", ["", "a", "x" * 3000, "[]:1:abc", ".eJw:1:2", "\u00e9"])
def test_an_invalid_message_cookie_is_no_error(browser, value):
    visitor = browser()
    response = visitor.get("/show/", headers={"cookie": f"{settings.MESSAGE_COOKIE_NAME}={value}"})
    assert (response.status_code, response.content) == (200, b"")
