"""The documents contain the stored results."""

import pytest

from tests.benchmarks import tables


@pytest.mark.parametrize("path", [tables.PROJECT, tables.BENCHMARKS], ids=["README", "benchmarks"])
def test_a_document_contains_the_stored_results(path):
    assert path.read_text() == tables.documents()[path], "Run: python -m tests.benchmarks tables"


def test_a_figure_that_was_not_measured_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    tables._results.cache_clear()
    try:
        assert tables.pages() == ""
    finally:
        tables._results.cache_clear()
