"""Approximate places of IP addresses, from a local database file."""

import socket
from pathlib import Path

import pytest
from django.utils.translation import override

from accounts import places
from tests.geoip_database import JAPAN, LONDON, PRIVATE, UNNAMED


@pytest.mark.usefixtures("places_database")
@pytest.mark.parametrize(("address", "place"), [(LONDON, "London, United Kingdom"), (JAPAN, "Japan")])
def test_a_public_address_has_a_place(address, place):
    assert places.of(address) == place


@pytest.mark.usefixtures("places_database")
def test_a_place_is_named_in_the_language_of_the_page():
    with override("de"):
        assert places.of(LONDON) == "London, Vereinigtes Königreich"


@pytest.mark.usefixtures("places_database")
def test_a_name_missing_in_a_language_is_english():
    with override("de"):
        assert places.of(JAPAN) == "Japan"


@pytest.mark.usefixtures("places_database")
@pytest.mark.parametrize("address", [None, "", PRIVATE, "127.0.0.1", "::1", "fe80::1", "9.9.9.9", UNNAMED])
def test_a_private_or_unknown_address_has_no_place(address):
    assert places.of(address) == ""


def test_without_a_database_no_address_has_a_place():
    assert places.of(LONDON) == ""


@pytest.mark.usefixtures("places_database")
def test_a_look_up_opens_no_connection(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *args: pytest.fail("a connection was opened"))
    assert places.of(LONDON)


@pytest.mark.usefixtures("places_database")
def test_an_address_is_looked_up_once():
    places.of(LONDON)
    places._database().close()
    assert places.of(LONDON) == "London, United Kingdom"


@pytest.mark.usefixtures("places_database")
def test_a_file_removed_after_the_start_is_logged_once(settings, caplog):
    Path(settings.GEOIP_PATH).unlink()
    assert [places.of(LONDON), places.of(JAPAN)] == ["", ""]
    assert caplog.text.count("GEOIP_PATH cannot be read") == 1
