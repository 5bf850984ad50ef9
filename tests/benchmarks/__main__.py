"""python -m tests.benchmarks COMMAND: see README.md beside this file."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import (
    acts,
    at_size,
    bound,
    compare_page,
    costs,
    ending,
    growth,
    guessing,
    in_process,
    limits,
    machine,
    middleware,
    pages,
    pruning,
    races,
    reckon,
    refresh,
    requests,
    revocation,
    servers,
    sizes,
    soak,
    steps,
    storm,
    tables,
)
from tests.benchmarks.output import say
from tests.benchmarks.wire import Failed
from tests.servers import ROOT

COMMANDS = {
    "requests": requests,
    "pages": pages,
    "steps": steps,
    "refresh": refresh,
    "in_process": in_process,
    "middleware": middleware,
    "bound": bound,
    "servers": servers,
    "costs": costs,
    "growth": growth,
    "revocation": revocation,
    "races": races,
    "at_size": at_size,
    "guessing": guessing,
    "ending": ending,
    "pruning": pruning,
    "limits": limits,
    "sizes": sizes,
    "storm": storm,
    "soak": soak,
    "reckon": reckon,
    "compare_page": compare_page,
    "acts": acts,
    "tables": tables,
}


def command_line(program: str, arguments: Sequence[str]) -> str:
    """Returns the command that is stored with results: absolute paths become relative to the project, or names."""
    paths = {each: Path(each).resolve() for each in arguments if Path(each).is_absolute()}
    plain = {
        each: path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
        for each, path in paths.items()
    }
    return " ".join([program, *(plain.get(each, each) for each in arguments)])


def main() -> None:
    parser = ArgumentParser(prog="python -m tests.benchmarks")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.__doc__, description=module.__doc__)
        command.add_argument("--json", type=Path, metavar="FILE", help="keep the results, and where they are from")
        module.add_arguments(command)
    options = parser.parse_args()
    about = {
        "command": command_line(parser.prog, sys.argv[1:]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "versions": machine.versions(),
    }
    say(f"{about['command']}, {about['date']}")
    say(", ".join(f"{name}: {value}" for name, value in about["machine"].items()))
    say(", ".join(" ".join(each) for each in about["versions"].items()) + "\n")
    try:
        results = COMMANDS[options.command].run(options)
    except Failed as error:
        sys.exit(f"Not measured: {error}")
    if options.json:
        options.json.write_text(json.dumps(about | {"results": results}, indent=2) + "\n")
        if options.json.resolve().parent == compare_page.RESULTS:
            compare_page.write()
            tables.write()


main()
