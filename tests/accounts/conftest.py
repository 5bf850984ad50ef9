import re
from datetime import timedelta
from types import SimpleNamespace

import pytest

from accounts import mail
from tests.accounts.doors import Door

LONG_AGO = timedelta(minutes=16)


@pytest.fixture(params=["/api/token/", "/accounts/login/", "/admin/login/"])
def door(request, browser, anonymous):
    return Door(request.param, browser, anonymous)


@pytest.fixture
def api_door(browser, anonymous):
    return Door("/api/token/", browser, anonymous)


@pytest.fixture
def world(ann, bob, staff, browser, browser_of, client_of, anonymous, password, mailoutbox, request):
    """Ann in a browser and in a client, and all who may do something about it."""
    on_commit = request.getfixturevalue("django_capture_on_commit_callbacks")

    def reset_link():
        with on_commit(execute=True):
            anonymous.post("/api/password/reset/", {"email": ann.email})
        mail.wait()
        return re.search(r"/reset/([^/\s]+)/([^/\s]+)/", mailoutbox[-1].body).groups()

    return SimpleNamespace(
        ann=ann,
        bob=bob,
        password=password,
        # Those who are to go:
        browser=browser_of(ann),
        client=client_of(ann),
        # Ann again, at work:
        her_page=browser_of(ann),
        her_program=client_of(ann),
        # Others:
        stranger=browser(),
        anonymous=anonymous,
        staff=browser_of(staff),
        bobs_browser=browser_of(bob),
        bobs_client=client_of(bob),
        reset_link=reset_link,
        client_of=client_of,
    )
