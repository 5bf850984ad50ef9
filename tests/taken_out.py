"""
Takes the controls of SECURITY.md out one by one, in a copy of the project, and runs the test that is to miss each:
`python -m tests.taken_out`. By hand, in two minutes; it ends with 1 if a test did not fail.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LEFT_BEHIND = shutil.ignore_patterns(".git", "var", ".*_cache", "__pycache__", "node_modules", "pictures")


class Control(NamedTuple):
    requirement: str
    what: str
    path: str
    # What stands there, once, and what takes its place.
    text: str
    without: str
    # As SECURITY.md names it.
    test: str


CONTROLS = [
    Control(
        "3.3.1",
        "cookies by HTTPS only",
        "project/settings.py",
        "SESSION_COOKIE_SECURE = not DEBUG",
        "SESSION_COOKIE_SECURE = False",
        "every_answer::every_cookie_is_for_this_host_over_https_and_small",
    ),
    Control(
        "3.4.3",
        "no plug-ins by the policy",
        "project/settings.py",
        '    "object-src": ["\'none\'"],\n',
        "",
        "error_pages::every_answer_has_the_strict_policy",
    ),
    Control(
        "3.5.1",
        "CSRF token with a cookie at the API",
        "api/authentication.py",
        "            super().enforce_csrf(request)\n",
        "            pass\n",
        "api/me_and_sign_ins::a_cookie_without_csrf_token_writes_nothing",
    ),
    Control(
        "3.5.2",
        "no cookie from a foreign page",
        "accounts/origin.py",
        'return site not in ("same-origin", "none")',
        "return False",
        "api/cross_origin::a_cookie_that_a_foreign_page_makes_the_browser_send_opens_nothing",
    ),
    Control(
        "4.1.2",
        "the API refuses plain HTTP",
        "project/settings.py",
        '    "api.middleware.HttpsOnlyMiddleware",\n',
        "",
        "every_answer::the_api_over_plain_http_refuses_and_leads_nowhere",
    ),
    Control(
        "4.1.3",
        "addresses by trusted proxies only",
        "accounts/middleware.py",
        "if not addresses.is_within(peer, settings.TRUSTED_PROXIES):",
        "if False:",
        "accounts/locks::what_a_client_says_of_its_own_address_counts_for_nothing",
    ),
    Control(
        "4.1.4",
        "pages take three methods",
        "accounts/middleware.py",
        "if request.method in self.PAGES_TAKE or",
        "if True or",
        "every_answer::a_page_takes_no_method_that_it_has_no_use_for",
    ),
    Control(
        "6.2.1",
        "a password of 15 characters",
        "project/settings.py",
        '"OPTIONS": {"min_length": PASSWORD_MIN_LENGTH}',
        '"OPTIONS": {"min_length": 8}',
        "api/account_endpoints::a_bad_password_is_refused_at_registering",
    ),
    Control(
        "6.2.8",
        "a password taken exactly",
        "api/serializers.py",
        "super().__init__(trim_whitespace=False, **kwargs)",
        "super().__init__(trim_whitespace=True, **kwargs)",
        "api/account_endpoints::nearly_that_password_does_not",
    ),
    Control(
        "6.3.1",
        "guesses have to wait",
        "accounts/models.py",
        "            if locked := {count.kind: count.until for count in counts if count.is_locked_out}:\n",
        "            if locked := {}:\n",
        "accounts/locks::after_a_few_wrong_guesses_the_right_one_is_refused_too",
    ),
    Control(
        "6.3.4",
        "guesses count together at every door",
        "accounts/backends.py",
        "guess, locked = self._count(sources, user)",
        "guess, locked = self._count(sources if kind == SignIn.Kind.CLIENT else [], user)",
        "accounts/locks::what_is_locked_at_one_door_is_locked_at_all",
    ),
    Control(
        "6.3.5",
        "theft is told to the owner",
        "accounts/models.py",
        '                self.user.notify("token_reused", client=self.label)\n',
        "",
        "api/refresh::reuse_is_told_to_the_user_by_mail",
    ),
    Control(
        "6.4.3",
        "a link dies after an hour",
        "project/settings.py",
        "PASSWORD_RESET_TIMEOUT = 3600",
        "PASSWORD_RESET_TIMEOUT = 86400",
        "accounts/session_pages::the_link_dies_after_an_hour",
    ),
    Control(
        "7.2.4",
        "a new key when the password is given again",
        "accounts/views.py",
        "        self.request.session.cycle_key()\n",
        "",
        "accounts/recent_proof::it_gives_a_new_session_key",
    ),
    Control(
        "7.3.1",
        "an idle session ends",
        "accounts/models.py",
        "and now < min(self.expires_at, self.max_expires_at)",
        "and now < self.max_expires_at",
        "accounts/session_pages::without_keeping_a_session_ends_after_an_idle_day",
    ),
    Control(
        "7.3.2",
        "a sign-in ends after 30 days",
        "accounts/models.py",
        "return self.created_at + settings.SIGN_IN_MAX\n",
        "return self.created_at + 100 * settings.SIGN_IN_MAX\n",
        "api/refresh::no_use_keeps_a_sign_in_alive_beyond_thirty_days",
    ),
    Control(
        "7.4.1",
        "the blocklist is asked",
        "api/tokens/access.py",
        "if mirror.blocks(self.sid, self.jti, self.user_id):",
        "if False:",
        "api/token_contract::after_blacklist_the_access_token_is_refused",
    ),
    Control(
        "7.4.2",
        "a deactivation ends sign-ins, however it is done",
        "accounts/models.py",
        'DECISIVE_FIELDS = frozenset({"is_active", "password"})',
        'DECISIVE_FIELDS = frozenset({"password"})',
        "accounts/one_list::who_is_to_go_is_out_and_nobody_else_is_cut_off",
    ),
    Control(
        "7.5.1",
        "the password again for what matters most",
        "accounts/views.py",
        "if sign_in and not sign_in.is_recently_authenticated():",
        "if False:",
        "accounts/recent_proof::a_stale_one_leads_to_the_question_and_back",
    ),
    Control(
        "8.2.1",
        "introspection by right only",
        "api/service_endpoints.py",
        "return user.is_staff or user.has_scope(User.Scope.INTROSPECT)",
        "return True",
        "api/other_services::ordinary_users_do_not_introspect_not_even_themselves",
    ),
    Control(
        "8.2.2",
        "one's own sign-ins only",
        "api/views.py",
        "generics.get_object_or_404(SignIn, user=request.user.pk, pk=pk)",
        "generics.get_object_or_404(SignIn, pk=pk)",
        "api/me_and_sign_ins::someone_elses_sign_in_stays",
    ),
    Control(
        "8.2.3",
        "names only of one's account",
        "api/serializers.py",
        'read_only_fields = ["id", "username", "email", "date_joined"]',
        'read_only_fields = ["id"]',
        "api/me_and_sign_ins::what_is_not_a_name_cannot_be_changed",
    ),
    Control(
        "9.1.1",
        "the signature of a token",
        "api/tokens/backend.py",
        'options={"require":',
        'options={"verify_signature": False, "require":',
        "api/forged_tokens::a_forged_token_is_refused",
    ),
    Control(
        "9.1.2",
        "one algorithm to a key",
        "api/tokens/backend.py",
        "algorithms=[key.algorithm]",
        'algorithms=["HS256", "HS384", "HS512"]',
        "api/forged_tokens::a_forged_token_is_refused",
    ),
    Control(
        "9.2.1",
        "a token ends, seen before or not",
        "api/tokens/backend.py",
        'if claims["exp"] + self._leeway_seconds <= time.time():',
        "if False:",
        "api/refresh::an_expired_access_token_is_refused_even_though_it_was_accepted_before",
    ),
    Control(
        "9.2.2",
        "no kind of token for another",
        "api/tokens/access.py",
        "        self.verify_token_type()\n",
        "        pass\n",
        "api/forged_tokens::a_token_of_the_other_kind_is_refused",
    ),
    Control(
        "9.2.3",
        "tokens for us only",
        "api/tokens/backend.py",
        "return [settings.JWT_AUDIENCE]",
        "return settings.JWT_AUDIENCES",
        "api/other_services::a_token_for_another_service_opens_nothing_here",
    ),
    Control(
        "13.4.2",
        "no debug mode unless asked for",
        "project/settings.py",
        'env.boolean("DEBUG")',
        'env.boolean("DEBUG", default=True)',
        "every_answer::it_starts_without_debug_unless_that_is_asked_for",
    ),
    Control(
        "14.2.4",
        "session keys stored as hashes",
        "accounts/sessions.py",
        "return hashlib.sha256(session_key.encode()).hexdigest()",
        "return session_key",
        "accounts/session_pages::the_session_key_is_nowhere_in_the_database",
    ),
    Control(
        "14.3.2",
        "answers are kept by nobody",
        "accounts/middleware.py",
        '        response.headers.setdefault("Cache-Control", "no-store")\n',
        "",
        "accounts/session_pages::a_private_page_is_not_stored_by_caches",
    ),
    Control(
        "16.4.2",
        "events are not changed by SQL",
        "accounts/migrations/0014_append_only_events.py",
        '"sqlite": SQLITE}',
        '"sqlite": []}',
        "accounts/events_below_the_orm::an_update_is_refused",
    ),
]


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def run(copy: Path, tests: list[str]) -> tuple[int, str]:
    """pytest's exit status, and its last line."""
    names = [re.sub(r"(\w+)::(\w+)$", r"test_\1.py::test_\2", f"tests/{test}") for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", "--maxfail=1", "--no-header", "-p", "no:cacheprovider", *names]
    ended = subprocess.run(command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return ended.returncode, ended.stdout.strip().splitlines()[-1]


def take_out(copy: Path, control: Control) -> bool:
    """Whether the test fails without it, and not for another reason than an assertion."""
    path = copy / control.path
    whole = path.read_text()
    if whole.count(control.text) != 1:
        raise SystemExit(f"{control.path} has changed: {control.text!r}")
    path.write_text(whole.replace(control.text, control.without))
    status, last_line = run(copy, [control.test])
    path.write_text(whole)
    fails = status == 1 and "failed" in last_line and "error" not in last_line
    say(f"{control.requirement:7} {control.what:50} {'fails' if fails else 'DOES NOT FAIL':14} {last_line}")
    return fails


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=LEFT_BEHIND)
        status, last_line = run(copy, sorted({control.test for control in CONTROLS}))
        say(f"all in: {last_line}")
        if status != 0:
            return 1
        results = [take_out(copy, control) for control in CONTROLS]
    say(f"{sum(results)} of {len(results)} tests fail where their control is taken out")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
