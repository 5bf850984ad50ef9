"""Bytes of a row of each table and of its indexes."""

from argparse import ArgumentParser, Namespace

from tests.benchmarks.output import table
from tests.benchmarks.stand import stand


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=200_000, help="of each table; a tenth as many users")


def run(options: Namespace) -> list[dict[str, object]]:
    with stand() as here:
        results = here.call("sizes.load", count=options.rows)
    show(results)
    return results


def show(results: list[dict]) -> None:
    table(
        ["table", "rows", "bytes a row", "of its indexes", "together"],
        [
            [
                each["table"],
                f"{each['rows']:,}",
                f"{each['bytes'] / each['rows']:.0f}",
                f"{each['index_bytes'] / each['rows']:.0f}",
                f"{per_row(each):.0f}",
            ]
            for each in results
        ],
    )


def per_row(result: dict) -> float:
    """Returns the bytes of a row with its indexes."""
    return (result["bytes"] + result["index_bytes"]) / result["rows"]
