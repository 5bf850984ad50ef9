"""The documents contain the stored results."""

from tests.benchmarks import tables


def test_the_documents_contain_the_stored_results():
    for path, text in tables.documents().items():
        assert path.read_text() == text, f"{path.name}: run python -m tests.benchmarks tables"


def test_a_figure_that_was_not_measured_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    tables._results.cache_clear()
    try:
        assert tables.pages() == ""
    finally:
        tables._results.cache_clear()
