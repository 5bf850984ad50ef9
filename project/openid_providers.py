"""The setting OPENID_PROVIDERS: the providers by which users sign in, and the settings of allauth for them."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from project.environment import Environment
from project.setting_values import split_url

PROVIDER_ID = re.compile(r"[a-z][a-z0-9-]{0,29}")
# In place of `name` and `server_url`. These two do not report when the user signed in there.
KNOWN: Mapping[str, Mapping[str, Any]] = {
    "google": {"name": "Google", "server_url": "https://accounts.google.com", "auth_time": False},
    "github": {"name": "GitHub", "server_url": "https://github.com", "auth_time": False, "kind": "github"},
}
DEFAULTS: Mapping[str, Any] = {"kind": "openid_connect", "auth_time": True}
FIELDS: Mapping[str, type] = {
    "id": str,
    "name": str,
    "server_url": str,
    "client_id": str,
    "secret": str,
    "auth_time": bool,
}
EXPECTED = (
    "a list in JSON, with an id (small letters, digits, hyphens), client_id and secret for each provider, and for all "
    "but google and github name and server_url, which is a URL with https (http only with DEBUG)"
)

# allauth needs all of them; its own pages are not in any URL conf.
APPS = [
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.github",
    "allauth.socialaccount.providers.openid_connect",
]
MIDDLEWARE = ["allauth.account.middleware.AccountMiddleware"]

Provider = dict[str, Any]


def read(env: Environment, name: str, schemes: Sequence[str]) -> dict[str, Provider]:
    """The providers by id, in their order. A problem does not show the value, which contains secrets."""
    text = env.text(name)
    if not text:
        return {}
    try:
        entries = json.loads(text)
    except ValueError:
        entries = None
    providers = [_provider(each, schemes) for each in entries] if isinstance(entries, list) else []
    found = {each["id"]: each for each in providers if each}
    if not found or len(found) < len(providers):
        env.refuse(name, EXPECTED)
        return {}
    return found


def _provider(entry: Any, schemes: Sequence[str]) -> Provider | None:
    """The provider with its defaults; None if the entry cannot work."""
    if not isinstance(entry, dict) or not entry.keys() <= FIELDS.keys():
        return None
    provider: Provider = {**DEFAULTS, **KNOWN.get(str(entry.get("id")), {}), **entry}
    if any(not isinstance(provider.get(field), type) or provider[field] == "" for field, type in FIELDS.items()):
        return None
    if not PROVIDER_ID.fullmatch(provider["id"]) or not provider["name"].isprintable():
        return None
    provider["server_url"] = provider["server_url"].rstrip("/")
    return provider if split_url(provider["server_url"], schemes) else None


def allauth_settings(providers: Mapping[str, Provider]) -> dict[str, Any]:
    """The settings of allauth; none without providers."""
    if not providers:
        return {}
    return {
        "SOCIALACCOUNT_ADAPTER": "accounts.openid.exchange.Adapter",
        "SOCIALACCOUNT_QUERY_EMAIL": True,
        # In seconds. A thread waits for a provider that does not answer.
        "SOCIALACCOUNT_REQUESTS_TIMEOUT": 5,
        "SOCIALACCOUNT_PROVIDERS": {"github": _github(providers.get("github"))},
    }


def _github(provider: Provider | None) -> dict[str, str]:
    """The URL of GitHub Enterprise. For github.com, whose API has another host, allauth knows both."""
    is_own = provider and provider["server_url"] != KNOWN["github"]["server_url"]
    return {"GITHUB_URL": provider["server_url"]} if provider and is_own else {}
