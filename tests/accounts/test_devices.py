"""Descriptions of devices, made from user agents."""

import pytest
from django.utils import translation

from accounts import devices

IPHONE = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1"
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0"
KNOWN = [
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0",
        "Firefox on Windows",
        "computer",
    ),
    (f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) {IPHONE}", "Safari on iOS", "phone"),
    (f"Mozilla/5.0 (iPad; CPU OS 17_2 like Mac OS X) {IPHONE}", "Safari on iOS", "tablet"),
    (f"Mozilla/5.0 (Linux; Android 10; K) {CHROME} Mobile Safari/537.36", "Chrome on Android", "phone"),
    ("Mozilla/5.0 (Android 14; Tablet; rv:125.0) Gecko/125.0 Firefox/125.0", "Firefox on Android", "tablet"),
    (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {CHROME} Safari/537.36", "Chrome on macOS", "computer"),
    ("curl/8.9.1", "curl", "program"),
    ("python-requests/2.32", "Python Requests", "program"),
    ("python-httpx/0.28.1", "python-httpx/0.28.1", "program"),
    ("HTTPie/3.2.2", "HTTPie", "program"),
    ("node", "node", "program"),
    ("Dart/3.3 (dart:io)", "Dart/3.3", "program"),
    ("your-app/2.1 CFNetwork/1490.0.4 Darwin/23.2.0", "your-app/2.1 on iOS", "phone"),
    ("your-app/2.1 (iPhone; iOS 17.2)", "your-app/2.1 on iOS", "phone"),
    ("", "Unknown device", "unknown"),
    ("Mozilla/5.0", "Unknown device", "unknown"),
    ("/ / /", "Unknown device", "unknown"),
]


@pytest.mark.parametrize(("user_agent", "words", "icon"), KNOWN)
def test_a_user_agent_has_a_description_and_an_icon(user_agent, words, icon):
    device = devices.of(user_agent)
    assert (str(device), device.icon) == (words, icon)


def test_the_name_of_an_unknown_user_agent_is_shortened():
    assert len(devices.name("x" * 512)) == 60


def test_the_description_is_in_the_language_of_the_user():
    assert isinstance(devices.name(""), str)
    with translation.override("de"):
        devices.of.cache_clear()
        devices.name("")
    assert devices.name("") == "Unknown device"


def test_an_update_is_the_same_device():
    assert devices.of("your-app/2.1 (iPhone; iOS 17.2)").is_like(devices.of("your-app/3.0 (iPhone; iOS 18.0)"))


def test_another_system_is_another_device():
    assert not devices.of("your-app/2.1 (iPhone; iOS 17.2)").is_like(devices.of("your-app/2.1"))
