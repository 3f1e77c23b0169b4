"""Everything that a configuration file may say: each section with its fields, their kinds, defaults and allowed values.

A field that is left out of an object has the default given here. A section that is left out (a key of the file itself
or of a workspace) is not touched at all.
"""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError

from budgets.models import AlertChannel, Budget, check_thresholds
from budgets.pricing import CLASSES
from evals.models import Guardrail
from gateway.models import Provider, RedactionPolicy, Route, ServedModel
from gateway.models.policy import DETECTABLE
from gateway.models.route import FALL_BACK_ON, FALL_BACK_ON_DEFAULT
from gateway.services.configuration import rules
from gateway.services.configuration.kinds import (
    Checked,
    Choice,
    Flag,
    Free,
    Moment,
    Money,
    Name,
    Network,
    Number,
    SecretText,
    Text,
    TimeZone,
    Whole,
)
from gateway.services.configuration.records import UNTOUCHED, Field, ListOf, MapOf, Record
from gateway.services.configuration.schema_words import CHANNEL, ENABLED, PROMPT, SUITE, URL, WEBHOOK, WORDS
from tenants.models import RateLimit, Workspace

MAX_BIGINT = 2**63 - 1
MIN_KEY_CHARACTERS = 16


def valid(check: Callable[[Any], None]) -> Callable[[Any], str]:
    """A model's own validator as a test for Checked."""

    def test(value: Any) -> str:
        try:
            check(value)
        except ValidationError as error:
            return " ".join(error.messages)
        return ""

    return test


SECONDS = Number(least=0.01, most=86_400, places=2)

CREDENTIAL = Record(
    "a credential",
    {
        "name": Field(Name(), "main", "to tell several apart; calls take them in this order"),
        "secret": Field(SecretText(), None, "`{env: NAME}`; left out: the stored one stays"),
        "enabled": ENABLED,
    },
)

PROVIDER = Record(
    "a provider",
    {
        "name": Field(Name(), help="the name in routes, records and headers"),
        "kind": Field(Choice(tuple(Provider.Kind.values)), help="which API it speaks"),
        "base_url": Field(Checked(URL, rules.provider_url), "", "left out: the provider's public address"),
        "region": Field(Text(longest=40), "", "Bedrock needs one; for Vertex"),
        "api_version": Field(Text(longest=40), "", "for Azure OpenAI"),
        "quirks": Field(Free(), {}, "what this server does differently"),
        "enabled": ENABLED,
        "credentials": Field(ListOf(CREDENTIAL, same_by=("name",)), UNTOUCHED, "its secrets"),
    },
    check=rules.provider,
)

RATE = Money(most="1000000")
RATES = {name: Field(RATE, None, "left out: as what it is part of") for name in CLASSES[2:-1]} | {
    "tool_use": Field(RATE, None, "dollars for each use of a hosted tool"),
}
TIER = Record(
    "a tier",
    {
        "above_input_tokens": Field(Whole(least=1), help="a longer input pays these rates for all its tokens"),
        "input": Field(RATE, None),
        "output": Field(RATE, None),
        **RATES,
    },
    is_sparse=True,
)
PRICE_LIST = {
    "input": Field(RATE, help="dollars per million tokens"),
    "output": Field(RATE, "0", "dollars per million tokens; chat needs it"),
    **RATES,
    "tiers": Field(ListOf(TIER, same_by=("above_input_tokens",)), None, "by length of input"),
}
SERVICE_TIER = Record("a service tier", PRICE_LIST, is_sparse=True)
PRICE = Record(
    "a price",
    PRICE_LIST
    | {"service_tiers": Field(MapOf(SERVICE_TIER, Name(40)), None, "a price list for each, e.g. flex and priority")},
    is_sparse=True,
)

MODEL = Record(
    "a model",
    {
        "name": Field(Name(120), help='what callers put into "model"'),
        "provider": Field(Name(), help="a provider's name"),
        "upstream": Field(Text(longest=200, shortest=1), help="the provider's own name for it"),
        "kind": Field(Choice(tuple(ServedModel.Kind.values)), "chat"),
        "price": Field(PRICE, None, "left out: the price catalogue's"),
        "max_output_tokens": Field(Whole(least=1), None),
        "context_tokens": Field(Whole(least=1), None),
        "quality": Field(Number(), None, "0 to 1, for routing by quality; left out: the newest eval result"),
        "capabilities": Field(ListOf(Text(longest=40, shortest=1)), None, "left out: not known, nothing is ruled out"),
        "enabled": ENABLED,
    },
    check=rules.model,
)

TARGET = Record(
    "a target",
    {
        "model": Field(Name(120), help="a model's name"),
        "weight": Field(Whole(most=1_000_000), 1, "share of the traffic, for a weighted route"),
        "first_byte_timeout_s": Field(SECONDS, None, "seconds"),
        "timeout_s": Field(SECONDS, None, "seconds"),
        "conditions": Field(ListOf(Free()), [], "when this target may be taken; left out: always"),
        "options": Field(Free(), {}, "further settings of this target"),
    },
)

CACHE = Record(
    "a cache",
    {
        "mode": Field(Choice(tuple(Route.CacheMode.values)), "off"),
        "ttl_s": Field(Whole(least=1), 3600, "seconds"),
        "threshold": Field(Number(), 0.95, "how alike two questions must be for a semantic hit, 0 to 1"),
    },
)

ROUTE = Record(
    "a route",
    {
        "name": Field(Name(120), help='what callers put into "model"'),
        "description": Field(Text(longest=300), ""),
        "strategy": Field(Choice(tuple(Route.Strategy.values)), "priority"),
        "sticky_by": Field(Choice(tuple(Route.StickyBy.values)), "none", "who stays with the same target"),
        "targets": Field(ListOf(TARGET, same_by=("model",), shortest=1), help="where its calls go, in this order"),
        "retries": Field(Whole(most=5), 1, "for each target, before the next one"),
        "fall_back_on": Field(ListOf(Choice(FALL_BACK_ON)), sorted(FALL_BACK_ON_DEFAULT), "failures that try the next"),
        "cache": Field(CACHE, None, "left out: off"),
        "options": Field(Free(), {}, "further settings of the route"),
        "enabled": ENABLED,
    },
    check=rules.route,
)

KEY = Record(
    "a key",
    {
        "name": Field(Name(), help="the name in records and limits"),
        "secret": Field(SecretText(shortest=MIN_KEY_CHARACTERS), None, "left out: made once, and printed by apply"),
        "team": Field(Name(), None, "a team of this workspace"),
        "models": Field(ListOf(Name(120)), None, "routes and models it may call; left out: all"),
        "allowed_ips": Field(ListOf(Network()), [], "addresses or networks; empty: any"),
        "expires_at": Field(Moment(), None, "left out: never"),
    },
)

LIMIT = Record(
    "a limit",
    {
        "of": Field(Choice(tuple(RateLimit.Of.values)), help="what it counts for"),
        "name": Field(Text(longest=200, shortest=1), None, "one team, key, user or address; left out: each one"),
        "unit": Field(Choice(tuple(RateLimit.Unit.values)), "requests"),
        "amount": Field(Whole(least=1, most=MAX_BIGINT), help="how many"),
        "per": Field(Choice(tuple(v for v in RateLimit.Per.values if v)), None, "minute where left out"),
        "burst": Field(Whole(least=1, most=MAX_BIGINT), None, "so many at once; left out: the whole amount"),
    },
    check=rules.limit,
)

BUDGET = Record(
    "a budget",
    {
        "name": Field(Text(longest=80, shortest=1), help="the name in refusals and alerts"),
        "of": Field(Choice(tuple(Budget.Of.values)), help="whose spending it caps"),
        "match": Field(Text(longest=200, shortest=1), None, "one team, key, user, model or provider; left out: each"),
        "per": Field(Choice(tuple(Budget.Per.values)), None, "the period, in the workspace's time zone"),
        "limit_usd": Field(Money(most="9000000000"), None, "dollars; a budget has this or limit_tokens"),
        "limit_tokens": Field(Whole(least=1, most=2**53), None),
        "mode": Field(Choice(tuple(Budget.Mode.values)), "hard", "soft: calls over it pass and are told"),
        "alert_at": Field(
            Checked(ListOf(Whole(least=1, most=100)), valid(check_thresholds)), [80, 90, 100], "per cent"
        ),
        "afford": Field(Flag(), False, "shorten an answer to what is left instead of refusing the call"),
    },
    check=rules.budget,
)

REDACTION = Record(
    "redaction",
    {
        "detect": Field(ListOf(Choice(DETECTABLE)), [], "what counts as personal data"),
        "action": Field(Choice(tuple(RedactionPolicy.Action.values)), "restore"),
        "on_error": Field(Choice(tuple(RedactionPolicy.OnError.values)), "block", "when a detector fails"),
        "options": Field(Free(), {}, "custom patterns and deny-lists"),
    },
)

GUARDRAIL = Record(
    "a guardrail",
    {
        "kind": Field(Choice(tuple(Guardrail.Kind.values))),
        "action": Field(Choice(tuple(Guardrail.Action.values)), "flag"),
        "threshold": Field(Number(), None, "for kinds that give a score, 0 to 1"),
        "words": Field(WORDS, [], "for blocked words and topics"),
        "options": Field(Free(), {}, "further settings of this kind"),
    },
    check=rules.guardrail,
)

RETENTION = Record(
    "retention",
    {
        "records_days": Field(Whole(least=1, most=36_500), 365),
        "bodies_days": Field(Whole(least=1, most=36_500), 30),
        "store_bodies": Field(Flag(), False, "keep what was asked and answered, encrypted, after redaction"),
    },
)

ALERT = Record(
    "an alert",
    {
        "kind": Field(Choice(tuple(AlertChannel.Kind.values))),
        "url": Field(Checked(URL, rules.webhook_url), "", "for webhook and slack"),
        "to": Field(ListOf(Checked(Text(longest=254), rules.email_address)), [], "for email"),
        "secret": Field(SecretText(), None, "signs a webhook's body; left out: the stored one stays"),
        "enabled": ENABLED,
    },
    check=rules.alert,
)

ON_UNAVAILABLE = Record(
    "on_unavailable",
    {
        "budgets": Field(Choice(tuple(Workspace.OnBudgetsUnavailable.values)), "closed"),
        "limits": Field(Choice(tuple(Workspace.OnLimitsUnavailable.values)), "open"),
        "audit": Field(Choice(tuple(Workspace.OnAuditUnavailable.values)), "spool"),
    },
)

WORKSPACE = Record(
    "a workspace",
    {
        "name": Field(Name(), help="the tenant: no data, key or budget crosses it"),
        "timezone": Field(TimeZone(), "UTC", "days and months of budgets begin here"),
        "enabled": Field(Flag(), True, "false: every key of this workspace is refused"),
        "on_unpriced": Field(Choice(tuple(Workspace.OnUnpriced.values)), "reject", "a model without a price"),
        "on_unavailable": Field(ON_UNAVAILABLE, UNTOUCHED, "what happens when their store is down"),
        "blocked_users": Field(ListOf(Text(longest=512, shortest=1)), UNTOUCHED, "end users whose calls are refused"),
        "teams": Field(ListOf(Record("a team", {"name": Field(Name())}), same_by=("name",)), UNTOUCHED),
        "keys": Field(ListOf(KEY, same_by=("name",)), UNTOUCHED),
        "limits": Field(ListOf(LIMIT, same_by=("of", "name", "unit", "per")), UNTOUCHED),
        "budgets": Field(ListOf(BUDGET, same_by=("name",)), UNTOUCHED),
        "redaction": Field(REDACTION, None, "`null`: none"),
        "guardrails": Field(ListOf(GUARDRAIL), UNTOUCHED),
        "retention": Field(RETENTION, UNTOUCHED),
        "alerts": Field(ListOf(ALERT, same_by=("kind", "url")), UNTOUCHED, "where budgets' alerts go"),
        "prompts": Field(ListOf(PROMPT, same_by=("name",)), UNTOUCHED),
        "channels": Field(ListOf(CHANNEL, same_by=("name",)), UNTOUCHED, "what a version needs to be served there"),
        "webhooks": Field(ListOf(WEBHOOK, same_by=("url",)), UNTOUCHED, "who is told when prompts change"),
        "suites": Field(ListOf(SUITE, same_by=("name",)), UNTOUCHED),
    },
)

FILE = Record(
    "the file",
    {
        "version": Field(Whole(least=1, most=1), help="of this format: 1"),
        "providers": Field(ListOf(PROVIDER, same_by=("name",)), UNTOUCHED, "where models live"),
        "models": Field(
            ListOf(MODEL, same_by=("name",)), UNTOUCHED, "what may be called, where it lives, what it costs"
        ),
        "routes": Field(ListOf(ROUTE, same_by=("name",)), UNTOUCHED, "names that stand for a chain of models"),
        "workspaces": Field(ListOf(WORKSPACE, same_by=("name",)), UNTOUCHED, "who may call, and under which rules"),
    },
)
