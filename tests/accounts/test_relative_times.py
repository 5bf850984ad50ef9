"""Relative times on the pages: one unit, in both languages."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone
from django.utils.translation import override

from accounts.templatetags.relative_time import relative_time

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(0), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=60), "1 minute ago"),
        (timedelta(minutes=59, seconds=59), "59 minutes ago"),
        (timedelta(hours=1), "1 hour ago"),
        (timedelta(hours=23, minutes=59), "23 hours ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=3, hours=20), "3 days ago"),
        (timedelta(days=59), "59 days ago"),
        (timedelta(days=60), "2 months ago"),
        (timedelta(days=729), "24 months ago"),
        (timedelta(days=730), "2 years ago"),
    ],
)
def test_a_past_time_has_one_unit_rounded_down(distance, text):
    assert relative_time(timezone.now() - distance) == text


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(seconds=1), "in less than a minute"),
        (timedelta(minutes=1), "in 1 minute"),
        (timedelta(hours=5, minutes=59), "in 5 hours"),
        (timedelta(days=13, hours=23), "in 13 days"),
        (timedelta(days=90), "in 3 months"),
        (timedelta(days=3650), "in 10 years"),
    ],
)
def test_a_future_time_has_one_unit_rounded_down(distance, text):
    assert relative_time(timezone.now() + distance) == text


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(seconds=-1), "gerade eben"),
        (timedelta(minutes=-5), "vor 5 Minuten"),
        (timedelta(days=-1), "vor 1 Tag"),
        (timedelta(days=-3), "vor 3 Tagen"),
        (timedelta(days=-90), "vor 3 Monaten"),
        (timedelta(hours=2), "in 2 Stunden"),
        (timedelta(days=13), "in 13 Tagen"),
    ],
)
def test_a_relative_time_is_german_with_its_own_cases(distance, text):
    with override("de"):
        assert relative_time(timezone.now() + distance) == text
