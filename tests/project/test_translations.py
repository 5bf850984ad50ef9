"""The German translation: complete, compiled, and used on request."""

import os
import re
import shutil
import subprocess
import sys

import polib
import pytest
from django.conf import settings

CATALOGUE = settings.BASE_DIR / "project" / "locale" / "de" / "LC_MESSAGES" / "django.po"
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd%]|data-slot=\"\w+\"|</?\w+")
TEXT_IN_TEMPLATE = re.compile(r"""\{%\s*translate\s+(?:"([^"]+)"|'([^']+)')""")
TEXT_IN_PYTHON = re.compile(r"""\b(?:_|gettext|gettext_lazy)\(\s*"((?:[^"\\]|\\.)*)"\s*\)""")


def texts(entry):
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


def entries():
    return polib.pofile(str(CATALOGUE))


def test_every_text_has_a_translation_that_is_not_fuzzy():
    assert [entry.msgid for entry in entries() if entry.fuzzy or entry.obsolete or not all(texts(entry))] == []


def test_the_compiled_catalogue_equals_its_source():
    compiled = polib.mofile(str(CATALOGUE.with_suffix(".mo")))
    assert {entry.msgid: texts(entry) for entry in compiled} == {entry.msgid: texts(entry) for entry in entries()}


def test_translations_have_the_same_placeholders_and_tags():
    def wrong(entry):
        # The singular may omit its number in both languages.
        originals = [entry.msgid, entry.msgid_plural] if entry.msgid_plural else [entry.msgid]
        pairs = zip(originals, texts(entry), strict=True)
        return any(sorted(PLACEHOLDER.findall(each)) != sorted(PLACEHOLDER.findall(text)) for each, text in pairs)

    assert [entry.msgid for entry in entries() if wrong(entry)] == []


def test_the_catalogue_contains_every_text_of_the_sources(tmp_path):
    """Uses makemessages, or a search of the sources if gettext is not installed."""
    missing = found_by_gettext(tmp_path) if shutil.which("xgettext") else found_by_search()
    assert missing - {entry.msgid for entry in entries()} == set()


def test_the_fallback_search_finds_texts():
    found = found_by_search()
    assert {"Sign in", "The password is wrong."} <= found
    assert found <= {entry.msgid for entry in entries()}


def found_by_gettext(folder):
    for name in ("accounts", "api", "project", "templates"):
        shutil.copytree(settings.BASE_DIR / name, folder / name, ignore=shutil.ignore_patterns("*.mo", "__pycache__"))
    copy = folder / CATALOGUE.relative_to(settings.BASE_DIR)
    copy.unlink()
    shutil.copy(settings.BASE_DIR / "manage.py", folder)
    command = [sys.executable, "manage.py", "makemessages", "--locale", "de"]
    # The app of an adopter may be in another folder.
    env = os.environ | {"PYTHONPATH": str(settings.BASE_DIR)}
    subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
    return {entry.msgid for entry in polib.pofile(str(copy))}


def found_by_search():
    found = set()
    for page in (settings.BASE_DIR / "templates").rglob("*.*"):
        found |= {"".join(match) for match in TEXT_IN_TEMPLATE.findall(page.read_text())}
    for app in ("accounts", "api", "project"):
        for module in (settings.BASE_DIR / app).rglob("*.py"):
            found |= set(TEXT_IN_PYTHON.findall(module.read_text()))
    return found


PUBLIC = [
    ("/", "Jedes Gerät sofort abmelden"),
    ("/accounts/login/", "Anmelden"),
    ("/accounts/signup/", "Registrieren"),
    ("/accounts/password_reset/", "Link senden"),
    ("/compare/", "Festivalbändchen oder Reisepass?"),
    ("/nowhere/", "Unter dieser Adresse gibt es keine Seite"),
]
SIGNED_IN = [
    ("/", "Guten Tag, ann"),
    ("/accounts/sign-ins/", "Anmeldungen"),
    ("/accounts/activity/", "Aktivitäten"),
    ("/accounts/profile/", "Ihr Name"),
    ("/accounts/clients/new/", "App verbinden"),
    ("/accounts/password_change/", "Passwort ändern"),
    ("/accounts/delete/", "Ihr Konto löschen?"),
    ("/compare/", "Was es kostet"),
]


def assert_german(response, heading):
    page = response.content.decode()
    assert '<html lang="de">' in page
    assert re.search(rf"<(h1|h2|button)[^>]*>[^<]*{re.escape(heading)}", page), heading


@pytest.mark.django_db
@pytest.mark.parametrize(("address", "heading"), PUBLIC)
def test_a_visitor_gets_german_by_the_accept_header(browser, address, heading):
    assert_german(browser().get(address, headers={"accept-language": "de"}), heading)


@pytest.mark.parametrize(("address", "heading"), SIGNED_IN)
def test_a_signed_in_user_gets_german_by_the_switch(browser_of, ann, address, heading):
    anns = browser_of(ann)
    anns.post("/accounts/language/", {"language": "de"})
    assert_german(anns.get(address, headers={"accept-language": "en"}), heading)


def test_api_responses_are_the_same_in_every_language(browser, ann):
    def answers(language):
        client = browser()
        headers = {"accept-language": language}
        weak = {"username": "zoe", "email": "zoe@example.org", "password": "short"}
        return [
            client.get("/api/me/", headers=headers | {"authorization": "Bearer x.y.z"}).json(),
            client.post(
                "/api/token/", {"username": "ann", "password": "no"}, "application/json", headers=headers
            ).json(),
            client.post("/api/register/", weak, "application/json", headers=headers).json(),
        ]

    assert answers("de") == answers("en")
