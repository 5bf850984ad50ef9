"""The types of the client for browser apps: those of the API are as in the schema, and an app can use them."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.api import client_types
from tests.plugins import nodejs
from tests.servers import ROOT

pytestmark = [pytest.mark.once, pytest.mark.long]

FOLDER = ROOT / "api" / "static" / "api"
APP = """
import { createClient } from "./client.js";
import type { ClientError, Step, User } from "./client.js";

const client = createClient({ mode: "token", baseUrl: "https://www.example.org", storage: "memory" });
const step: Step | null = await client.signIn({ username: "alice", password: "secret", remember: true });
if (step?.methods.includes("totp")) await step.finish({ code: "123456" });
const user: User | null = await client.whoAmI();
const name: string = (await client.call("/api/me/")).username;
const changed = await client.call("/api/me/", { first_name: "Alice" }, "PATCH");
const first: string = changed.first_name;
const made: number = (await client.call("/api/reports/", { title: "A path of the app" })).id;
const token: string = await client.accessToken({ audience: "reports" });
const stop: () => void = client.onChange((change) => change === "signed_out");
client.call("/api/me/").catch((error: ClientError) => error.code === "offline" && error.retryAfter > 1);
// @ts-expect-error
const wrong: number = (await client.call("/api/me/")).username;
// @ts-expect-error
await client.call("/api/me/", { first_name: 1 }, "PATCH");
// @ts-expect-error
createClient({ mode: "cookie" });
"""


def test_the_types_of_the_api_are_those_of_the_schema():
    written = client_types.TYPES.read_text()
    assert written == client_types.generate(client_types.schema()), "Run: python -m tests.api.client_types"


def test_an_app_compiles_with_the_types(tmp_path):
    for name in ("client.js", "client.d.ts", "schema.d.ts"):
        (tmp_path / name).write_text((FOLDER / name).read_text())
    (tmp_path / "app.ts").write_text(APP)
    tsc: Path = nodejs.require_packages() / ".bin" / "tsc"
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable"]
    (tmp_path / "package.json").write_text('{"type": "module"}')
    compiled = subprocess.run([tsc, *options, "app.ts"], cwd=tmp_path, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stdout


def test_the_types_name_what_the_client_has():
    nodejs.require_packages()
    code = """import(process.argv[1]).then(({ createClient }) => {
        console.log(Object.keys(createClient({ baseUrl: "https://www.example.org" })).join())
        process.exit()
    })"""
    run = subprocess.run(["node", "-e", code, str(FOLDER / "client.js")], capture_output=True, text=True)
    interface = (FOLDER / "client.d.ts").read_text().partition("export interface Client {")[2]
    assert set(run.stdout.strip().split(",")) == set(re.findall(r"^  (\w+)[(<]", interface, re.MULTILINE)), run.stderr
