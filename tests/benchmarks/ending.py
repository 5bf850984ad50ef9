"""Duration of an end of all sign-ins, and the time until the last token is refused."""

import threading
from argparse import ArgumentParser, Namespace
from time import perf_counter

from tests.benchmarks import machine, wire
from tests.benchmarks.output import Progress, say, table
from tests.benchmarks.stand import stand


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--sign-ins", type=int, default=1_000_000)


def run(options: Namespace) -> list[dict[str, object]]:
    with stand() as here, Progress(3) as progress:
        progress.at("making sign-ins")
        pairs = here.call("rows.live", count=options.sign_ins)
        progress.step()
        with here.node() as node:
            requests = [wire.get("/api/me/", wire.HTTPS | wire.bearer(pair["access"])) for pair in pairs]
            for request in requests:
                wire.ask(node.url, request).expect(200)
            progress.at("ending them")
            last_accepted, outputs, over = 0.0, [], threading.Event()

            def end() -> None:
                with machine.pinned(machine.OTHER_CORES):
                    outputs.append(here.manage("end_sign_ins", "--all"))
                over.set()

            started = perf_counter()
            first_refused = 0.0
            thread = threading.Thread(target=end)
            thread.start()
            while not over.is_set():
                for request in requests:
                    asked = perf_counter() - started
                    if wire.ask(node.url, request).status == 200:
                        last_accepted = asked
                    elif not first_refused:
                        first_refused = perf_counter() - started
            thread.join()
            took = perf_counter() - started
            progress.step()
            for pair, request in zip(pairs, requests, strict=True):
                wire.ask(node.url, request).expect(401)
                wire.ask(node.url, wire.post("/api/token/refresh/", {"refresh": pair["refresh"]})).expect(401)
    ended = int(outputs[0].split()[0])
    table(
        ["", "seconds"],
        [
            ["until the first refusal (the command starts, and writes its first row)", f"{first_refused:.2f}"],
            ["until the last token was let in", f"{last_accepted:.2f}"],
            [f"until all {ended:,} were ended", f"{took:.1f}"],
        ],
    )
    say()
    return [
        {
            "ended": ended,
            "seconds": took,
            "seconds_until_first_refusal": first_refused,
            "seconds_until_refused": last_accepted,
        }
    ]
