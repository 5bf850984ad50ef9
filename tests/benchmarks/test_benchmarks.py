"""
Each benchmark runs and returns figures. Speeds are not asserted, since the machine is busy with tests. Those marked
`named` take long, and only a change of tests/benchmarks breaks them: run this file after one.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ROOT

pytestmark = [pytest.mark.once, pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture
def results(tmp_path: Path) -> Any:
    def run(*command: str) -> list[Any]:
        kept = tmp_path / "kept.json"
        subprocess.run([sys.executable, "-m", "tests.benchmarks", *command, "--json", kept], cwd=ROOT, check=True)
        written = json.loads(kept.read_text())
        assert str(tmp_path) not in written["command"], "an absolute path"
        return written["results"]

    return run


@pytest.mark.named
def test_requests_measures_and_plots_shares_of_the_baseline(results: Any, tmp_path: Path) -> None:
    drawing = tmp_path / "shares.svg"
    only = [word for name in ("floor", "no authentication", "HS256", "stateless, no") for word in ("--only", name)]
    rounds = ["--rounds", "1", "--bare-rounds", "1", "--seconds", "0.3"]
    floor, ours, passport, stateless, ratio = results("requests", *rounds, "--plot", drawing, *only)
    assert floor["share"] == floor["bare"]["share"] == 1
    assert min(each["requests_per_second"] for each in (ours, passport, stateless, passport["bare"])) > 0
    assert ratio["ratio"] == passport["requests_per_second"] / stateless["requests_per_second"]
    assert ">passport HS256</text>" in drawing.read_text()


@pytest.mark.named
def test_requests_counts_the_statements_of_each_request(results: Any) -> None:
    only = [word for name in ("wristband", "HS256", "sessions, db") for word in ("--only", name)]
    wristband, passport, sessions = results("requests", "--rounds", "1", "--bare-rounds", "0", *only)
    assert round(sessions["statements"], 1) == 2
    # A reading of the blocklist may come between.
    assert wristband["statements"] < 0.05
    assert passport["statements"] < 0.05


@pytest.mark.named
@pytest.mark.timeout(300)
def test_pages_measures_each_beside_its_equivalent(results: Any) -> None:
    home, sign_ins, *me = results("pages", "--rounds", "1", "--seconds", "0.3", "--rows", "3")
    assert (home["page"], sign_ins["page"]) == ("home page", "list of sign-ins")
    assert all(each["ratio"] > 0 and each["stock"]["statements"] >= 1 for each in (home, sign_ins, *me))


@pytest.mark.named
def test_steps_measures_the_cost_of_each_step(results: Any) -> None:
    floor, *steps = results("steps", "--rounds", "1", "--seconds", "0.3")
    assert (floor["name"], floor["share"], floor["more"]) == ("floor", 1, None)
    assert {"passport HS256", "wristband", "wristband that queries each time"} <= {each["name"] for each in steps}
    assert all(each["microseconds"] > 0 for each in (floor, *steps))


@pytest.mark.named
def test_refresh_measures_this_project_and_others(results: Any) -> None:
    ours, theirs, ratio = results("refresh", "--rounds", "1", "--seconds", "0.3")
    assert ours["refreshes_per_second"] > 0
    assert theirs["refreshes_per_second"] > 0
    assert ratio["ratio"] > 0


@pytest.mark.named
def test_in_process_measures_dispatch_and_a_sign_in(results: Any) -> None:
    *dispatch, sign_in = results("in_process", "--rounds", "1", "--seconds", "0.1", "--sign-ins", "2")
    assert all(each["added"] > 0 for each in dispatch)
    assert sign_in["hash_milliseconds"] > 0


@pytest.mark.named
def test_middleware_measures_each_of_ours_and_djangos_stack(results: Any) -> None:
    api, page = results("middleware", "--rounds", "2", "--requests", "5")
    assert (api["name"], page["name"]) == ("API", "page")
    assert api["none"] > 0
    assert "TrustedProxyMiddleware" in api["each"]


@pytest.mark.named
def test_servers_measures_each_server_and_its_memory(results: Any) -> None:
    once = ["--rounds", "1", "--seconds", "0.3", "--way", "nginx, kept connections"]
    *speeds, first, second = results("servers", *once, "--only", "gunicorn gthread")
    assert {each["server"] for each in speeds} >= {"gunicorn sync", "gunicorn gthread"}
    assert all(each["cpu_microseconds"] > 0 for each in speeds)
    assert first["worker_megabytes"] > 0
    assert second["start_seconds"] > 0


@pytest.mark.named
def test_costs_measures_actions_and_processes_beside_a_stock_project(results: Any) -> None:
    sizes = ["--users", "2", "--starts", "1", "--nodes", "1", "--requests", "40"]
    measured = {each["what"]: each for each in results("costs", "--rounds", "1", "--seconds", "0.3", *sizes)}
    assert {"refresh, one client", "end of one", "manage.py check", "worker, after use"} <= measured.keys()
    assert all(each["ratio"] > 0 for each in measured.values())


@pytest.mark.named
def test_growth_measures_every_size(results: Any) -> None:
    sizes = ["--blocked", "200", "--sign-ins", "100"]
    *measured, token, session = results("growth", "--rounds", "1", "--seconds", "0.3", *sizes)
    assert [each["rows"] for each in measured] == [200, 200, 100, 100, 100]
    assert all(each["per_second"] > 0 for each in measured)
    assert [(each["mode"], each["rows"]) for each in (token, session)] == [("token", 200), ("session", 200)]


@pytest.mark.named
def test_revocation_counts_who_refused(results: Any) -> None:
    tries = ["--tries", "3", "--tries-flushed", "1", "--tries-silent", "1", "--tries-dead", "1"]
    token, session, *trouble = results("revocation", "--workers", "2", *tries)
    assert (token["mode"], session["mode"]) == ("token", "session")
    assert all(each["refused"] == each["next_requests"] == 3 * 3 for each in (token, session))
    assert [each["what"] for each in trouble] == ["flushed"] * 2 + ["silent"] * 2 + ["killed"] * 2
    assert all(each["seconds_until_refused"]["max"] < 30 for each in trouble)


@pytest.mark.named
def test_races_have_one_successor_and_replays_end_the_family(results: Any) -> None:
    race, replay = results("races", "--families", "3", "--at-once", "4")
    assert race == {"what": "race", "families": 3, "at_once": 4, "successors": 1}
    assert replay == {"what": "replay", "families": 3, "ended": 3}


@pytest.mark.named
def test_guessing_measures_every_kind_of_account(results: Any) -> None:
    measured = results("guessing", "--tries", "3")
    assert [each["kind"] for each in measured] == ["known", "unknown", "inactive", "unusable"]
    assert all(each["milliseconds"] > 0 for each in measured)


@pytest.mark.named
def test_ending_ends_everything(results: Any) -> None:
    (ended,) = results("ending", "--sign-ins", "200")
    assert ended["ended"] == 200
    assert ended["seconds_until_refused"] <= ended["seconds"]


@pytest.mark.named
def test_pruning_deletes_prunable_rows(results: Any) -> None:
    quiet, busy = results("pruning", "--rows", "400", "--seconds", "1")
    assert quiet["p99_milliseconds"] > 0
    assert busy["p99_milliseconds"] > 0
    assert busy["deleted"] == 400


@pytest.mark.named
def test_at_size_waits_for_every_page(results: Any) -> None:
    sizes = ["--users", "200", "--sign-ins", "2000", "--events", "2000", "--entries", "200", "--locks", "200"]
    pages = results("at_size", "--times", "1", *sizes)
    assert {"overview", "users", "sign-ins", "events", "blocklist", "locks"} <= {each["page"] for each in pages}
    assert all(each["median_milliseconds"] > 0 and each["statements"] > 0 for each in pages)


@pytest.mark.named
def test_limits_finds_a_knee_for_each_kind_of_request(results: Any) -> None:
    sizes = ["--nodes", "1", "--workers", "1", "--clients", "1", "2", "--seconds", "0.3"]
    measured = results("limits", *sizes, "--rounds", "1")
    assert [len(each["rounds"]) for each in measured] == [1] * 5
    assert all(each["per_second"] > 0 and each["cpu_milliseconds"]["application"] > 0 for each in measured)


@pytest.mark.named
def test_sizes_measures_every_table(results: Any) -> None:
    measured = results("sizes", "--rows", "2000")
    assert {each["rows"] for each in measured} >= {200, 2000}
    assert all(each["bytes"] > 0 and each["index_bytes"] > 0 for each in measured)


@pytest.mark.named
def test_storm_accepts_no_token_after_an_acknowledged_end(results: Any) -> None:
    (storm,) = results("storm", "--processes", "6", "--revocations", "3000", "--slow", "2", "--checks", "10")
    # Each process checks the last of each thousand.
    assert storm["checks"] == 6 * 3
    assert storm["turns"] > 6
    assert storm["let_in"] == storm["unanswered"] == storm["refused_others"] == 0


@pytest.mark.named
def test_soak_finds_the_rows_that_its_clients_made(results: Any) -> None:
    sizes = ["--nodes", "1", "--workers", "1", "--clients", "2", "--seconds", "0.5", "--rows", "500"]
    (soak,) = results("soak", "--minutes", "0.1", *sizes)
    assert soak["done"]["client_sign_ins"] > 0
    assert soak["done"]["browser_sign_ins"] > 0
    assert all(each["rows"] == each["predicted_rows"] for each in soak["tables"])
    assert soak["postgres_connections"]["late"] > 0


def test_reckon_reads_the_stored_results(results: Any) -> None:
    lines = {each["what"]: each["value"] for each in results("reckon", "--users", "1000000")}
    assert lines["sign-ins: rows"] == 1_000_000 * 1.5 * 2
    assert lines["blocklist: bytes"] > 0


@pytest.mark.named
def test_bound_compares_both_modes_with_and_without_binding(results: Any) -> None:
    passport, unbound, bound = results("bound", "--rounds", "1", "--seconds", "0.3")
    assert min(each["ratio"] for each in (passport, unbound, bound)) > 0
