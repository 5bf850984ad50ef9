"""The documents: their length, and their links to files and sections."""

import re
from pathlib import Path

import pytest

from tests import servers

DOCUMENTS = [
    "README.md",
    "SECURITY.md",
    "accounts/README.md",
    "api/README.md",
    "api/blocklist/README.md",
    "project/ASVS.md",
    "project/README.md",
    "project/BACKUPS.md",
    "project/MONITORING.md",
    "project/MOVING_IN.md",
    "tests/README.md",
    "tests/benchmarks/README.md",
]
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def text_of(path: Path) -> str:
    """Returns the text of a document without its code blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """Returns the anchors that GitHub makes of the headings."""
    titles = re.findall(r"^#+ (.+)", text_of(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", [*DOCUMENTS, "project/RELEASES.md", "project/PRODUCT.md", "project/OPENID.md"])
def test_every_link_points_to_an_existing_file_and_section(document: str) -> None:
    path = servers.ROOT / document
    for file, anchor in LINK.findall(text_of(path)):
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), file
        assert not anchor or anchor in anchors(target), f"{file}#{anchor}"


@pytest.mark.parametrize(
    ("document", "lines"), [("README.md", 200), ("SECURITY.md", 250), ("project/RELEASES.md", 150)]
)
def test_a_document_stays_within_its_line_limit(document: str, lines: int) -> None:
    assert len((servers.ROOT / document).read_text().splitlines()) <= lines


def test_the_readme_links_to_every_document() -> None:
    named = {file for file, _anchor in LINK.findall(text_of(servers.ROOT / "README.md").partition("## Other doc")[2])}
    assert {*DOCUMENTS[1:]} <= named


def test_the_documented_product_is_the_sample() -> None:
    document = (servers.ROOT / "project/PRODUCT.md").read_text()
    blocks = re.findall(
        r"^```(?:python|html)\n(?:#|\{#) (product/\S+)(?: #\})?\n(.*?)^```", document, re.DOTALL | re.MULTILINE
    )
    assert {path for path, _text in blocks} >= {
        "product/settings.py",
        "product/urls.py",
        "product/models.py",
        "product/templates/base.html",
    }
    for path, text in blocks:
        assert (servers.ROOT / "tests/sample" / path).read_text().startswith(text), path


def test_each_log_line_of_the_table_of_causes_is_in_the_code() -> None:
    readme = (servers.ROOT / "project/MONITORING.md").read_text()
    rows = readme.partition("### Causes in the log")[2].partition("\n`/metrics`")[0].splitlines()
    cells = [cell for row in rows if row.startswith("| ") for cell in row.split(" | ")[1:3]]
    lines = [line for cell in cells for line in re.findall(r"`([^`]+)`", cell)]
    code = "\n".join(
        path.read_text() for app in ("accounts", "api", "project") for path in (servers.ROOT / app).rglob("*.py")
    )
    assert len(lines) > 15
    for line in lines:
        # Up to the first part that differs.
        fixed = re.split("[…:0-9]", line)[0].strip()
        assert fixed in code, line
