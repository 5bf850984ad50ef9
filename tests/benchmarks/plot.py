"""A bar chart as SVG, readable on light and dark pages."""

from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path

ROW = 30
BAR = 18
LEFT = 390
SCALE = 380
TITLE = "Requests per second as deployed, as a share of a stock Django view without authentication"
WIDTH = LEFT + SCALE + 70

STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328 }
.ours { fill: #0b6bcb } .peer { fill: #9aa4af } line { stroke: #d1d9e0 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .ours { fill: #5aa9ff } .peer { fill: #6e7781 } line { stroke: #3d444d }
}"""


def write(path: str, shares: Sequence[tuple[str, float]], highlighted: Collection[str]) -> None:
    Path(path).write_text(draw(shares, highlighted))


def draw(shares: Sequence[tuple[str, float]], highlighted: Collection[str]) -> str:
    """Returns one bar for each name and share, the longest first; a share of 1 has the width of the chart."""
    ordered = sorted(shares, key=lambda share: -share[1])
    height = ROW * len(ordered) + 10
    bars = [_bar(row, name, share, name in highlighted) for row, (name, share) in enumerate(ordered)]
    description = escape("; ".join(f"{name}: {share:.2f}" for name, share in ordered))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' role="img" aria-labelledby="title desc">',
        f'<title id="title">{TITLE}</title>',
        f'<desc id="desc">{description}</desc>',
        f"<style>{STYLE}\n</style>",
        f'<line x1="{LEFT + SCALE}" y1="0" x2="{LEFT + SCALE}" y2="{height}"/>',
        *bars,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _bar(row: int, name: str, share: float, is_ours: bool) -> str:
    top, width = row * ROW + 8, share * SCALE
    kind = "ours" if is_ours else "peer"
    return (
        f'<text x="{LEFT - 10}" y="{top + 14}" text-anchor="end">{escape(name)}</text>'
        f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{width:.0f}" height="{BAR}" rx="2"/>'
        f'<text x="{LEFT + width + 6:.0f}" y="{top + 14}">{share:.2f}</text>'
    )
