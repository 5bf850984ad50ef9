"""Response time of each page of the admin with millions of rows."""

from argparse import ArgumentParser, Namespace
from statistics import median

from tests.benchmarks.output import say, table
from tests.benchmarks.stand import stand

LONGEST = 300


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--times", type=int, default=15, help="that each page is asked for")
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--sign-ins", type=int, default=2_000_000, help="half of them live")
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--entries", type=int, default=500_000, help="of the blocklist")
    parser.add_argument("--locks", type=int, default=500_000, help="one in a hundred locked now")


def run(options: Namespace) -> list[dict[str, object]]:
    with stand() as here:
        took = here.call(
            "many.load",
            users=options.users,
            sign_ins=options.sign_ins,
            events=options.events,
            entries=options.entries,
            locks=options.locks,
        )
        waited = here.call("many.wait_for_pages", times=options.times)
    table(["rows", "seconds to load"], [[model, f"{seconds:.0f}"] for model, seconds in took.items()])
    say()
    results = [
        {
            "page": each["page"],
            "url": each["url"],
            "median_milliseconds": median(each["milliseconds"]),
            "max_milliseconds": max(each["milliseconds"]),
            "statements": each["statements"],
        }
        for each in waited
    ]
    table(
        ["page", "median, ms", "max, ms", "statements"],
        [
            [
                each["page"],
                f"{each['median_milliseconds']:.0f}",
                f"{each['max_milliseconds']:.0f}",
                str(each["statements"]),
            ]
            for each in results
        ],
    )
    slow = [each["page"] for each in results if each["median_milliseconds"] >= LONGEST]
    say(
        f"\n{len(results) - len(slow)} of {len(results)} pages under {LONGEST} ms at the median."
        + "".join(f"\n  slower: {page}" for page in slow)
    )
    return results
