"""
Replaces the controls of project/ASVS.md one by one, and runs the test that must fail without each:
`python -m tests.security.mutation_check`, or with the numbers of requirements. Exits with 1 if a test does not fail.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings

ROOT = Path(__file__).resolve().parent.parent.parent


class Control(NamedTuple):
    requirement: str
    what: str
    # Dotted name of a function, a method, a constant or a setting.
    target: str
    # Returns the replacement of the original.
    change: Callable[[Any], Any]
    # The name in project/ASVS.md.
    test: str


def value(replacement: Any) -> Callable[[Any], Any]:
    return lambda original: replacement


def returns(result: Any) -> Callable[[Any], Any]:
    return lambda original: lambda *args, **kwargs: result


def with_keywords(**changes: Any) -> Callable[[Any], Any]:
    """Calls the original with other keyword arguments; a dict is merged into the given one."""

    def change(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            for name, new in changes.items():
                kwargs[name] = {**kwargs[name], **new} if isinstance(new, dict) else new
            return original(*args, **kwargs)

        return call

    return change


def while_set(name: str, new: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Calls the method while its object's attribute has another value."""

    def change(original: Any) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            before = getattr(self, name)
            setattr(self, name, new(self))
            try:
                return original(self, *args, **kwargs)
            finally:
                setattr(self, name, before)

        return call

    return change


def trust_every_peer(process_request: Any) -> Any:
    from django.test import override_settings

    def call(self: Any, request: Any) -> Any:
        with override_settings(TRUSTED_PROXIES=[request.META["REMOTE_ADDR"]]):
            return process_request(self, request)

    return call


def count_api_guesses_only(authenticate: Any) -> Any:
    def call(self: Any, request: Any, *args: Any, kind: str = "browser", **kwargs: Any) -> Any:
        if kind == "browser":
            self._sources = returns([])(None)
        return authenticate(self, request, *args, kind=kind, **kwargs)

    return call


def notify_except_of_theft(notify: Any) -> Any:
    def call(self: Any, event: str, **kwargs: Any) -> None:
        if event != "token_reused":
            notify(self, event, **kwargs)

    return call


def trim_white_space(init: Any) -> Any:
    def call(self: Any, **kwargs: Any) -> None:
        init(self, **kwargs)
        self.trim_whitespace = True

    return call


def find_rows_of_all_users(get_object_or_404: Any) -> Any:
    def call(queryset: Any, *args: Any, user: Any = None, **kwargs: Any) -> Any:
        return get_object_or_404(queryset, *args, **kwargs)

    return call


def without_middleware(name: str) -> Callable[[Any], Any]:
    return lambda paths: [path for path in paths if not path.endswith(f".{name}")]


def debug_by_default(boolean: Any) -> Any:
    return lambda self, name, default=False: boolean(self, name, default or name == "DEBUG")


def accept_used_codes(swap_step: Any) -> Any:
    def call(app: Any, step: int, **changes: Any) -> bool:
        return swap_step(app, step, **changes) if changes else True

    return call


def store_plain_codes(new_codes: Any) -> Any:
    def call() -> Any:
        codes, _hashes = new_codes()
        return codes, codes

    return call


CONTROLS = [
    Control(
        "3.3.1",
        "cookies by HTTPS only",
        "django.conf.settings.SESSION_COOKIE_SECURE",
        value(False),
        "project/all_responses::every_cookie_is_host_only_secure_and_small",
    ),
    Control(
        "3.4.3",
        "no plug-ins by the policy",
        "django.conf.settings.SECURE_CSP",
        lambda policy: {name: sources for name, sources in policy.items() if name != "object-src"},
        "project/error_pages::every_response_has_the_strict_policy",
    ),
    Control(
        "3.4.7",
        "ten reports a minute are logged",
        "project.csp_reports.MAX_REPORTS_PER_MINUTE",
        value(1_000),
        "project/csp_reports::a_flood_adds_ten_lines_a_minute_to_the_log",
    ),
    Control(
        "3.5.1",
        "CSRF token with a cookie at the API",
        "api.authentication.SessionAuthentication.enforce_csrf",
        returns(None),
        "api/me_and_sign_ins::a_cookie_without_csrf_token_writes_nothing",
    ),
    Control(
        "3.5.2",
        "no cookie from a foreign page",
        "accounts.http.cross_site.is_cross_site",
        returns(False),
        "api/cross_origin::a_cookie_sent_by_a_foreign_page_is_refused",
    ),
    Control(
        "4.1.2",
        "the API refuses plain HTTP",
        "django.conf.settings.MIDDLEWARE",
        without_middleware("HttpsOnlyMiddleware"),
        "project/all_responses::the_api_refuses_http_without_a_redirect",
    ),
    Control(
        "4.1.3",
        "addresses by trusted proxies only",
        "accounts.http.middleware.TrustedProxyMiddleware.process_request",
        trust_every_peer,
        "accounts/rate_limits::a_forwarded_address_from_a_client_is_ignored",
    ),
    Control(
        "4.1.4",
        "pages take three methods",
        "accounts.http.middleware.CommonMiddleware.process_view",
        returns(None),
        "project/all_responses::a_page_refuses_unsupported_methods",
    ),
    Control(
        "6.2.1",
        "a password of 15 characters",
        "django.conf.settings.AUTH_PASSWORD_VALIDATORS",
        lambda validators: [
            {**each, "OPTIONS": {"min_length": 8}} if "OPTIONS" in each else each for each in validators
        ],
        "api/account_endpoints::a_bad_password_is_refused_at_registration",
    ),
    Control(
        "6.2.8",
        "a password taken exactly",
        "api.fields.TextField.__init__",
        trim_white_space,
        "api/account_endpoints::a_similar_password_does_not_sign_in",
    ),
    Control(
        "6.2.4",
        "common passwords are refused",
        "accounts.known_passwords._is_common",
        returns(False),
        "accounts/known_passwords::a_common_long_password_is_refused",
    ),
    Control(
        "6.2.12",
        "breached passwords are refused",
        "accounts.hash_list.contains",
        returns(False),
        "accounts/known_passwords::a_breached_password_is_refused_by_page_and_api",
    ),
    Control(
        "6.3.1",
        "guesses are rate-limited",
        "accounts.models.AttemptCounter.is_locked_out",
        value(False),
        "accounts/rate_limits::after_too_many_guesses_the_right_password_is_refused",
    ),
    Control(
        "6.3.3",
        "a required second factor",
        "accounts.models.User.must_have_second_factor",
        value(False),
        "api/second_step::who_must_have_a_factor_and_has_none_gets_no_tokens",
    ),
    Control(
        "6.3.4",
        "guesses count together in both modes",
        "accounts.backends.PasswordBackend.authenticate",
        count_api_guesses_only,
        "accounts/rate_limits::guesses_at_one_sign_in_form_count_at_all",
    ),
    Control(
        "6.3.5",
        "reuse is mailed to the owner",
        "accounts.models.User.notify",
        notify_except_of_theft,
        "api/refresh::reuse_is_mailed_to_the_user",
    ),
    Control(
        "6.4.1",
        "initial passwords expire",
        "accounts.initial_passwords.is_expired",
        returns(False),
        "accounts/service_accounts::an_expired_initial_password_signs_in_nowhere",
    ),
    Control(
        "6.4.3",
        "a link expires after an hour",
        "django.conf.settings.PASSWORD_RESET_TIMEOUT",
        value(86400),
        "accounts/password_pages::the_reset_link_expires_after_an_hour",
    ),
    Control(
        "6.4.4",
        "lost factors are removed after a day",
        "accounts.factors.removals.DELAY",
        value(timedelta(0)),
        "accounts/lost_factors::before_the_delay_nothing_is_removed",
    ),
    Control(
        "6.5.1",
        "a code is valid once",
        "accounts.factors.totp._swap_step",
        accept_used_codes,
        "api/second_step::a_code_works_once",
    ),
    Control(
        "6.5.2",
        "recovery codes stored as hashes",
        "accounts.factors.recovery_codes.new_codes",
        store_plain_codes,
        "security/stored_secrets::no_secret_is_stored_or_logged_and_no_stored_value_works",
    ),
    Control(
        "6.5.4",
        "recovery codes of 80 bits",
        "accounts.factors.recovery_codes.RANDOM_BYTES",
        value(5),
        "accounts/factors/randomness::a_recovery_code_has_eighty_bits",
    ),
    Control(
        "6.5.5",
        "a second step expires after five minutes",
        "accounts.factors.second_step.MAX_AGE",
        value(timedelta(hours=1)),
        "api/second_step::a_step_expires_after_five_minutes",
    ),
    Control(
        "6.5.6",
        "a removed factor is deleted",
        "accounts.factors.changes.remove",
        returns(None),
        "api/factors::a_removed_factor_no_longer_signs_in",
    ),
    Control(
        "6.5.8",
        "codes of the server's time only",
        "accounts.factors.totp.WINDOW",
        value(10),
        "accounts/factors/codes::one_step_of_clock_skew_is_accepted",
    ),
    Control(
        "6.7.2",
        "a challenge is valid once",
        "accounts.factors.second_step.Step.consume",
        returns(None),
        "api/second_step::the_answer_of_a_passkey_works_once",
    ),
    Control(
        "7.2.4",
        "a new session key at reauthentication",
        "accounts.sessions.SessionStore.cycle_key",
        returns(None),
        "accounts/reauthentication::a_confirmation_creates_a_new_session_key",
    ),
    Control(
        "7.3.1",
        "an idle session ends",
        "accounts.models.SignIn.is_live",
        while_set("expires_at", lambda sign_in: sign_in.max_expires_at),
        "accounts/session_lifetime::without_remember_me_a_session_expires_after_an_idle_day",
    ),
    Control(
        "7.3.2",
        "a sign-in ends after 30 days",
        "accounts.models.SignIn.max_expires_at",
        value(property(lambda sign_in: sign_in.created_at + 100 * settings.SIGN_IN_MAX)),
        "api/refresh::use_does_not_extend_a_sign_in_beyond_thirty_days",
    ),
    Control(
        "7.4.1",
        "the blocklist is asked",
        "api.tokens.access.AccessToken.check_not_revoked",
        returns(None),
        "api/token_contract::after_blacklist_the_access_token_is_refused",
    ),
    Control(
        "7.4.2",
        "a deactivation ends sign-ins, however it is made",
        "accounts.models.UserQuerySet.DECISIVE_FIELDS",
        lambda fields: fields - {"is_active"},
        "accounts/revocation_everywhere::each_way_revokes_the_sign_ins_of_one_user_only",
    ),
    Control(
        "7.5.1",
        "reauthentication for sensitive actions",
        "accounts.models.SignIn.is_recently_authenticated",
        returns(True),
        "accounts/reauthentication::stale_authentication_asks_for_the_password_and_returns",
    ),
    Control(
        "7.5.2",
        "a recent proof to end sign-ins over the API",
        "accounts.factors.requirements.is_recent",
        returns(True),
        "api/reauthentication::ending_one_or_all_sign_ins_asks_for_a_recent_proof",
    ),
    Control(
        "7.5.3",
        "a recent proof for changes in the admin",
        "project.admin_site._with_recent_proof",
        value(lambda view: view),
        "accounts/staff_step_up::an_action_on_a_user_asks_for_a_recent_proof",
    ),
    Control(
        "8.2.1",
        "introspection needs a permission",
        "api.service_endpoints.MayIntrospect.has_permission",
        returns(True),
        "api/other_services::ordinary_users_do_not_introspect_even_their_own_token",
    ),
    Control(
        "8.2.2",
        "only the user's own sign-ins",
        "api.views.generics.get_object_or_404",
        find_rows_of_all_users,
        "api/me_and_sign_ins::another_users_sign_in_stays",
    ),
    Control(
        "8.2.3",
        "only names of the user's account",
        "api.serializers.UserSerializer.Meta.read_only_fields",
        value(["id"]),
        "api/me_and_sign_ins::only_names_can_be_changed",
    ),
    Control(
        "9.1.1",
        "the signature of a token",
        "api.tokens.backend.StrictJWT.decode",
        with_keywords(options={"verify_signature": False}),
        "api/forged_tokens::a_forged_token_is_refused",
    ),
    Control(
        "9.1.2",
        "one algorithm to a key",
        "api.tokens.backend.StrictJWT.decode",
        with_keywords(algorithms=["HS256", "HS384", "HS512"]),
        "api/forged_tokens::a_forged_token_is_refused",
    ),
    Control(
        "9.2.1",
        "a token expires, cached or not",
        "api.tokens.backend.StrictTokenBackend.decode",
        while_set("_leeway_seconds", lambda backend: float("inf")),
        "api/refresh::an_expired_access_token_is_refused_after_earlier_use",
    ),
    Control(
        "9.2.2",
        "token types are not interchangeable",
        "api.tokens.access.SignInToken.verify_token_type",
        returns(None),
        "api/forged_tokens::a_token_of_the_other_type_is_refused",
    ),
    Control(
        "9.2.3",
        "tokens for us only",
        "api.tokens.backend.StrictTokenBackend.accepted_audiences",
        value(property(lambda backend: settings.JWT_AUDIENCES)),
        "api/other_services::a_token_for_another_service_is_refused_here",
    ),
    Control(
        "13.4.2",
        "no debug mode unless asked for",
        "project.environment.Environment.boolean",
        debug_by_default,
        "project/all_responses::debug_is_off_by_default",
    ),
    Control(
        "14.2.4",
        "session keys stored as hashes",
        "accounts.sessions.digest",
        value(str),
        "accounts/session_keys::the_session_key_is_not_in_the_database",
    ),
    Control(
        "14.3.2",
        "responses are not stored by caches",
        "accounts.http.headers.security_headers",
        lambda security_headers: lambda: security_headers() | {"Cache-Control": "private"},
        "accounts/session_pages::a_private_page_is_not_cached",
    ),
    Control(
        "16.4.2",
        "events are not changed by SQL",
        "accounts.migrations.0014_append_only_events.SQLITE",
        value([]),
        "accounts/events_below_the_orm::sql_updates_of_events_are_refused",
    ),
]


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def run(tests: list[str], *options: str) -> tuple[int, str]:
    """Runs tests and returns the exit status and the last line of pytest."""
    names = [re.sub(r"(\w+)::(\w+)$", r"test_\1.py::test_\2", f"tests/{test}") for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", "--maxfail=1", "--no-header", "-p", "no:cacheprovider", *options]
    ended = subprocess.run([*command, *names], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return ended.returncode, ended.stdout.strip().splitlines()[-1]


def fails_without(control: Control) -> bool:
    """Whether the test fails by an assertion."""
    status, last_line = run([control.test], "-p", "tests.plugins.mutation", "--mutation", control.requirement)
    fails = status == 1 and "failed" in last_line and "error" not in last_line
    say(f"{control.requirement:7} {control.what:50} {'fails' if fails else 'DOES NOT FAIL':14} {last_line}")
    return fails


def main(requirements: list[str]) -> int:
    controls = [each for each in CONTROLS if not requirements or each.requirement in requirements]
    status, last_line = run(sorted({control.test for control in controls}))
    say(f"nothing replaced: {last_line}")
    if status != 0:
        return 1
    results = [fails_without(control) for control in controls]
    say(f"{sum(results)} of {len(results)} tests fail where their control is replaced")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
