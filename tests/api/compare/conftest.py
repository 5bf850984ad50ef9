"""Fixtures of the tests of /compare/."""

import sys
from types import ModuleType

import pytest

from accounts.models import SignIn
from project import urls
from tests.conftest import claims_of

# The URLs of project.urls without DEMO.
without_demo = ModuleType("urls_without_demo")
without_demo.urlpatterns = [
    each for each in urls.urlpatterns if getattr(each, "pattern", None) and str(each.pattern) != "compare/"
]
without_demo.handler404 = urls.handler404
sys.modules[without_demo.__name__] = without_demo


@pytest.fixture
def urls_without_demo(settings):
    """The ROOT_URLCONF of a project without DEMO, which is off."""
    settings.DEMO = False
    return without_demo.__name__


@pytest.fixture
def end():
    """Ends the sign-in of a client."""
    return lambda client: SignIn.objects.get(pk=claims_of(client.access)["sid"]).end(SignIn.Reason.SIGNED_OUT)


@pytest.fixture
def guest(browser):
    """A browser signed in as a new throw-away user; `page` is the response with the password."""
    guest = browser()
    guest.page = guest.post("/compare/throw-away/")
    return guest
