"""Background jobs that act for a user: the actor of events, and links without a request."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse

from accounts.django_versions import task
from accounts.http import request_context
from accounts.models import SecurityEvent, SignIn, User
from tests.conftest import send_mails, sign_in_of

pytestmark = pytest.mark.django_db

EVENT = SecurityEvent.Type.SIGN_IN_ENDED


@task()
def end_sign_ins(user_id: int, actor_id: int) -> None:
    with request_context.acting(actor=User.objects.get(pk=actor_id)):
        SignIn.objects.filter(user=user_id).end(SignIn.Reason.ENDED_BY_STAFF)


def newest() -> SecurityEvent:
    return SecurityEvent.objects.filter(type=EVENT).latest("pk")


def test_a_job_acts_for_its_user(ann, staff, browser_of):
    browser_of(ann)
    end_sign_ins.enqueue(ann.pk, staff.pk)
    # The worker of the mails runs all jobs.
    send_mails()
    assert not sign_in_of(ann).is_live()
    assert (newest().user, newest().actor, newest().ip_address) == (ann, staff, None)


def test_a_reason_inside_keeps_the_actor(ann, staff, browser_of):
    browser_of(ann)
    with request_context.acting(actor=staff), request_context.acting("The laptop was stolen."):
        SignIn.objects.filter(user=ann).end(SignIn.Reason.ENDED_BY_STAFF)
    assert (newest().actor, newest().details["why"]) == (staff, "The laptop was stolen.")
    assert request_context.actor() is None


def test_an_actor_inside_keeps_the_reason(ann, staff, browser_of):
    browser_of(ann)
    with request_context.acting("The laptop was stolen."), request_context.acting(actor=staff):
        SignIn.objects.filter(user=ann).end(SignIn.Reason.ENDED_BY_STAFF)
    assert (newest().actor, newest().details["why"]) == (staff, "The laptop was stolen.")


def test_a_link_of_a_job_has_the_url_of_the_site(settings):
    settings.SITE_URL = "https://notes.example.org"
    assert request_context.absolute_url(reverse("profile")) == "https://notes.example.org/accounts/profile/"


def test_a_job_without_a_site_url_makes_no_link(settings):
    settings.SITE_URL = ""
    with pytest.raises(ImproperlyConfigured, match="SITE_URL"):
        request_context.absolute_url(reverse("profile"))
