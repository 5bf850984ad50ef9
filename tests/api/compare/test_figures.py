"""The measured figures on /compare/."""

import json
import re

import pytest
from django.conf import settings

from api.compare import figures
from tests.benchmarks import compare_page

pytestmark = pytest.mark.django_db


def numbers_in(benchmark):
    """Returns every number in the stored results of a benchmark."""

    def walk(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            for each in value:
                yield from walk(each)
        elif isinstance(value, int | float):
            yield value

    path = settings.BASE_DIR / "tests" / "benchmarks" / "results" / f"{benchmark}.json"
    return list(walk(json.loads(path.read_text())["results"]))


def shown(cell):
    """Yields each number in a cell, its number of decimals, and whether it is a percentage."""
    for text in re.findall(r"\d[\d,]*(?:\.\d+)?", cell):
        number = text.replace(",", "")
        yield float(number), len(number.partition(".")[2]), "%" in cell


@pytest.mark.parametrize("row", range(len(figures.rows())))
def test_every_figure_is_in_the_stored_results(row):
    row = figures.rows()[row]
    measured = numbers_in(row.source)
    for number, decimals, is_share in (
        each for cell in (row.wristband, row.passport, row.usual) for each in shown(cell)
    ):
        assert any(round(each * (100 if is_share else 1), decimals) == number for each in measured), number


def test_the_figures_are_on_the_page(browser):
    page = browser().get("/compare/").content.decode()
    results = settings.BASE_DIR / "tests" / "benchmarks" / "results"
    (sign_in,) = (
        each for each in json.loads((results / "in_process.json").read_text())["results"] if each["name"] == "sign-in"
    )
    assert f"{round(sign_in['hash_milliseconds'])} ms for the password hash" in page


def test_the_shares_on_the_page_are_those_as_deployed(monkeypatch):
    kept = figures.measured()
    shares = {"requests_share_wristband": 0.876, "requests_share_passport": 0.91}
    monkeypatch.setattr(figures, "measured", lambda: kept | {"figures": kept["figures"] | shares})
    assert (figures.rows()[0].wristband, figures.rows()[0].passport) == ("88 %", "91 %")


def test_a_figure_that_was_not_measured_is_left_out(monkeypatch):
    kept = figures.measured()
    monkeypatch.setattr(figures, "measured", lambda: kept | {"figures": dict.fromkeys(kept["figures"])})
    for row in figures.rows():
        assert not any(list(shown(cell)) for cell in (row.wristband, row.passport, row.usual)), row.what


def test_a_mode_that_was_not_measured_is_named(browser):
    page = browser().get("/compare/").content.decode()
    row = page.partition("After a sign-out: next requests")[2].partition("</tr>")[0]
    assert ("not measured" in row) == (figures.value("revocation_requests_wristband") is None)


def test_the_figures_on_the_page_are_the_stored_results():
    kept = json.loads(figures.FILE.read_text())
    assert kept == compare_page.collect(), "Run: python -m tests.benchmarks compare_page"
    assert figures.measured() == kept


def test_stored_results_update_the_page(monkeypatch, tmp_path):
    monkeypatch.setattr(compare_page, "FILE", tmp_path / "measured.json")
    assert compare_page.write() == json.loads((tmp_path / "measured.json").read_text()) == figures.measured()
