"""The home page of the site, as a visitor sees it."""

import json
import re

import pytest
from django.conf import settings
from django.utils import translation

from project import differences, proofs, views

pytestmark = pytest.mark.django_db

RESULTS = settings.BASE_DIR / "tests" / "benchmarks" / "results"


def text(html):
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def result(benchmark, **sought):
    """Returns the stored result of a benchmark that has these values."""
    results = json.loads((RESULTS / f"{benchmark}.json").read_text())["results"]
    [found] = [each for each in results if sought.items() <= each.items()]
    return found


def test_the_proofs_are_the_stored_results(browser):
    revoked = result("revocation", what="answers", mode="token")
    race, replay = result("races", what="race"), result("races", what="replay")
    page = text(browser().get("/").content.decode())
    assert f"{revoked['refused']:,} of {revoked['next_requests']:,} revoked tokens refused" in page
    assert f"{race['at_once']} to {race['successors']} {race['at_once']} tabs refresh at the same moment" in page
    assert f"{replay['ended']} of {replay['families']} replayed refresh tokens" in page


def test_each_proof_leads_to_the_act_that_shows_it(browser):
    page = browser().get("/").content.decode()
    assert re.findall(r'href="/compare/#(act-\w+)"', page) == [proof.act for proof in proofs.proofs()]


def test_a_proof_that_was_not_measured_is_left_out(monkeypatch):
    figures = proofs.measured() | {"race_successors": None}
    monkeypatch.setattr(proofs, "measured", lambda: figures)
    assert [proof.act for proof in proofs.proofs()] == ["act-out", "act-theft"]


def test_the_command_is_that_of_the_readme(browser):
    assert f"\n{views.INSTALL}\n" in (settings.BASE_DIR / "README.md").read_text()
    page = browser().get("/").content.decode()
    assert views.INSTALL.replace("&", "&amp;") in page


def test_one_click_starts_the_comparison(browser):
    visitor = browser()
    page = visitor.get("/").content.decode()
    form = re.search(r'<form method="post" action="([^"]+)">(?:(?!</form>).)*Try it, one click', page)
    response = visitor.post(form[1])
    assert response.status_code == 200
    assert response.context["user"].is_throw_away


def test_the_table_has_five_rows_and_two_modes(browser):
    table = re.search(r'<table class="five">.*?</table>', browser().get("/").content.decode(), re.DOTALL)[0]
    assert table.count('<th scope="row">') == len(differences.differences()) == 5
    assert table.count('<th scope="col">') == 2


def test_the_table_has_the_lifetime_of_access_tokens():
    assert "5 minutes" in differences.differences()[0].passport


def test_the_figures_are_written_as_in_german(browser):
    with translation.override("de"):
        assert proofs.proofs()[0].figure.startswith("70.000")


def test_the_picture_is_described_in_words(browser):
    page = browser().get("/").content.decode()
    picture = re.search(r'<svg class="picture".*?</svg>', page, re.DOTALL)[0]
    assert 'role="img" aria-labelledby="picture"' in picture
    assert '<title id="picture">A list of sign-ins.' in picture
