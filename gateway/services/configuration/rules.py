"""What must hold within one object of the configuration file, beyond each field by itself."""

import re
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from gateway.core import egress
from gateway.core.conditions import problems
from gateway.core.route_options import route_problems, target_problems
from gateway.services.configuration.kinds import Reading
from gateway.services.configuration.records import Entry

THIS_MACHINE = "127.0.0.1"
NEEDS_URL = {"openai_compatible", "azure_openai"}
SUBJECTS_OF_LIMITS = {"team", "key", "user", "ip"}
SUBJECTS_OF_BUDGETS = {"team", "key", "user", "model", "provider"}


def provider_url(url: str) -> str:
    """What is wrong with a provider's address, or nothing."""
    try:
        egress.check_url(url)
    except egress.EgressRefused as error:
        return str(error)
    return "must not hold a query or a fragment" if urlsplit(url).query or urlsplit(url).fragment else ""


def webhook_url(url: str) -> str:
    """What is wrong with a webhook's address, or nothing.

    This machine itself is let through here, so that a file made for one machine can be read on a larger installation;
    whether anything is sent there is decided at sending, and `alert` tells.
    """
    try:
        egress.check_url(
            url, public_only=True, allowed_hosts=frozenset([*settings.PRIVATE_WEBHOOK_HOSTS, THIS_MACHINE])
        )
    except egress.EgressRefused as error:
        return f"{error} (PRIVATE_WEBHOOK_HOSTS can allow a host)"
    return ""


def email_address(address: str) -> str:
    """What is wrong with an e-mail address, or nothing."""
    if re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", address):
        return ""
    return f"{address!r} is no e-mail address"


def content(value: Any) -> str:
    """A message's content is text, a list of parts, or nothing beside tool calls."""
    return "" if value is None or isinstance(value, (str, list)) else "must be text or a list of parts"


def provider(entry: Entry, reading: Reading) -> None:
    kind = entry.get("kind")
    if kind in NEEDS_URL and entry.get("base_url") == "":
        reading.bad(entry.node, f"a provider of kind {kind} needs `base_url`")
    if kind == "bedrock" and entry.get("region") == "":
        reading.bad(entry.node, "a provider of kind bedrock needs `region`")
    if kind == "bedrock":
        for credential in entry.get("credentials") or []:
            secret = credential.get("secret")
            if secret is not None and secret.text.count(":") not in {1, 2}:
                reading.bad(credential.at("secret"), "must be ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]")


def model(entry: Entry, reading: Reading) -> None:
    """Output that is not priced would be free, which nobody means."""
    price = entry.get("price")
    if price and entry.get("kind") in ("chat", "completion") and not price.gives("output"):
        reading.bad(price.node, "the price of a model that writes needs `output`")


def route(entry: Entry, reading: Reading) -> None:
    targets = entry.get("targets") or []
    if entry.get("strategy") == "weighted" and targets and not any(target.get("weight", 1) for target in targets):
        reading.bad(entry.at("targets"), "every weight is 0, so no target can be chosen")
    for problem in route_problems(entry.get("options") or {}):
        reading.bad(entry.at("options"), f"options{problem}")
    for target in targets:
        for problem in problems(target.get("conditions") or []):
            reading.bad(target.at("conditions"), f"conditions{problem}")
        for problem in target_problems(target.get("options") or {}):
            reading.bad(target.at("options"), f"options{problem}")


def limit(entry: Entry, reading: Reading) -> None:
    """A window for requests and tokens, none for calls at once; a name only where there is more than one."""
    if entry.get("unit") == "concurrency":
        if entry.get("per"):
            reading.bad(entry.at("per"), "calls at once have no window; leave `per` out")
        if entry.get("burst"):
            reading.bad(entry.at("burst"), "calls at once have no burst; leave it out")
    elif "unit" in entry:
        entry["per"] = entry.get("per") or "minute"
    burst, amount = entry.get("burst"), entry.get("amount")
    if burst is not None and amount is not None and burst > amount:
        reading.bad(entry.at("burst"), f"the burst of {burst} is more than the amount of {amount}")
    if entry.get("name") and "of" in entry and entry["of"] not in SUBJECTS_OF_LIMITS:
        reading.bad(entry.at("name"), f"a limit of {entry['of']} takes no name")


def budget(entry: Entry, reading: Reading) -> None:
    """One limit, a period unless it is of a call, and a subject only where there is more than one."""
    of = entry.get("of")
    if (
        "limit_usd" in entry
        and "limit_tokens" in entry
        and (entry["limit_usd"] is None) == (entry["limit_tokens"] is None)
    ):
        reading.bad(entry.node, "a budget has `limit_usd` or `limit_tokens`: one of the two")
    if of == "call":
        if entry.get("per"):
            reading.bad(entry.at("per"), "a budget of one call has no period; leave `per` out")
        if entry.gives("alert_at") and entry.get("alert_at"):
            reading.bad(entry.at("alert_at"), "a budget of one call never fills up; leave `alert_at` out")
    elif of is not None and "per" in entry and entry["per"] is None:
        reading.bad(entry.node, "a budget needs `per`: day, week, month or total")
    if entry.get("match") and of is not None and of not in SUBJECTS_OF_BUDGETS:
        reading.bad(entry.at("match"), f"a budget of {of} takes no `match`")


def guardrail(entry: Entry, reading: Reading) -> None:
    if entry.get("kind") == "blocked_words" and entry.get("words") == []:
        reading.bad(entry.node, "blocked_words needs `words`")


def alert(entry: Entry, reading: Reading) -> None:
    if entry.get("kind") == "email":
        if entry.get("to") == []:
            reading.bad(entry.node, "an alert by email needs `to`")
        for name in ("url", "secret"):
            if entry.gives(name):
                reading.bad(entry.at(name), f"an alert by email takes no `{name}`")
    elif "kind" in entry:
        if entry.get("url") == "":
            reading.bad(entry.node, f"an alert by {entry['kind']} needs `url`")
        webhook(entry, reading)
        if entry.gives("to"):
            reading.bad(entry.at("to"), f"an alert by {entry['kind']} takes no `to`")


def webhook(entry: Entry, reading: Reading) -> None:
    """An address on this machine is taken, because the file may be for another one, and noted."""
    host = urlsplit(entry.get("url", "")).hostname
    if host == THIS_MACHINE and host not in settings.PRIVATE_WEBHOOK_HOSTS:
        reading.notes.append(f"nothing is sent to {entry['url']} while PRIVATE_WEBHOOK_HOSTS does not name {host}")
