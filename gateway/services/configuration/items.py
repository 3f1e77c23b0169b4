"""A configuration as a flat set of items, the same whether it comes from a file or from the database.

An item has a kind, a name that says which one it is, and plain fields named as in the file. What a file leaves out of
an object stands here with its default, so two items are equal when their fields are.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gateway.core.money import dollars, nanos
from gateway.services.configuration.document import Node
from gateway.services.configuration.kinds import Secret
from gateway.services.configuration.records import Entry

# Every kind of item, each after those that it refers to: the order of writing. Removing goes backwards.
KINDS = (
    *("provider", "credential", "model", "route", "workspace", "team", "key", "limit", "budget", "redaction"),
    *("guardrail", "alert", "prompt", "version", "channel", "suite", "case", "channel_rules", "webhook"),
)
SECTION_OF = {
    "provider": "providers",
    "credential": "credentials",
    "model": "models",
    "route": "routes",
    "workspace": "workspaces",
    "team": "teams",
    "key": "keys",
    "limit": "limits",
    "budget": "budgets",
    "redaction": "redaction",
    "guardrail": "guardrails",
    "alert": "alerts",
    "prompt": "prompts",
    "version": "versions",
    "channel": "channels",
    "suite": "suites",
    "case": "cases",
    "channel_rules": "channels",
    "webhook": "webhooks",
}
# Kinds whose order counts: among its siblings each has a rank.
ORDERED = frozenset({"credential", "guardrail", "case"})

Key = tuple[str, tuple[str, ...]]
Section = tuple[str, tuple[str, ...]]


@dataclass(slots=True)
class Item:
    """One object of the configuration.

    name      within its kind: ("openai",), ("acme", "web"), …
    parent    the name of the object whose section it stands in; () for the file itself
    secret    from the file, where one is given
    entry     where it stands in the file; None when it comes from the database
    row       its row, once there is one
    position  among its siblings, where their order counts
    is_gone   in the database but out of use: a revoked key, an archived prompt, a workspace switched off
    """

    kind: str
    name: tuple[str, ...]
    fields: dict[str, Any]
    parent: tuple[str, ...] = ()
    secret: Secret | None = None
    entry: Entry | None = None
    place: Node | None = None
    row: Any = None
    position: int = 0
    is_gone: bool = False

    @property
    def key(self) -> Key:
        return self.kind, self.name

    @property
    def section(self) -> Section:
        return self.kind, self.parent

    @property
    def label(self) -> str:
        """How the plan calls it: `key acme/web`."""
        return f"{self.kind.replace('_', ' ')} {'/'.join(part for part in self.name if part)}"

    def at(self, name: str) -> Node | None:
        """Where one of its fields stands in the file, if the item does."""
        return self.entry.at(name) if self.entry is not None else self.place


@dataclass(slots=True)
class Desired:
    """What a file asks for.

    items     in the file's order
    sections  those that the file has: what else stands in them may be pruned
    emptied   those that the file says are empty (`redaction: null`): what stands in them goes, pruned or not
    """

    items: dict[Key, Item] = field(default_factory=dict)
    sections: set[Section] = field(default_factory=set)
    emptied: set[Section] = field(default_factory=set)

    def add(self, item: Item) -> None:
        """Take in an item; among ordered siblings it comes after those that are there."""
        if item.kind in ORDERED:
            item.position = sum(other.section == item.section for other in self.items.values())
        self.items[item.key] = item


ROUTE_CACHE = {"mode": "off", "ttl_s": 3600, "threshold": 0.95}


def plain(value: Any) -> Any:
    """Entries as mere dicts."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def sorted_lists(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """The same with these lists sorted: their order means nothing."""
    return fields | {name: sorted(fields[name]) for name in names if fields.get(name)}


PROVIDER_FIELDS = ("kind", "base_url", "region", "api_version", "quirks", "enabled")
MODEL_FIELDS = (
    *("provider", "upstream", "kind", "price", "max_output_tokens", "context_tokens", "quality", "capabilities"),
    "enabled",
)
ROUTE_FIELDS = (
    *("description", "strategy", "sticky_by", "targets", "retries", "fall_back_on", "cache", "options", "enabled"),
)
WORKSPACE_FIELDS = ("timezone", "enabled", "on_unpriced", "on_unavailable", "blocked_users", "retention")
KEY_FIELDS = ("team", "models", "allowed_ips", "expires_at")
BUDGET_FIELDS = ("of", "match", "per", "limit_usd", "limit_tokens", "mode", "alert_at", "afford")
REDACTION_FIELDS = ("detect", "action", "on_error", "options")
GUARDRAIL_FIELDS = ("action", "threshold", "words", "options")
VERSION_FIELDS = ("message", "route", "messages", "parameters", "response_format", "tools", "input_schema")
CHANNEL_FIELDS = (
    *("protected", "required_approvals", "allow_self_approval", "required_suites", "publishers", "reviewers"),
)
CASE_FIELDS = ("inputs", "messages", "expected", "assertions", "tags")


def desired(file: Entry) -> Desired:
    """The items of a file that was read. Entries that have no usable name are left out: their problem was noted."""
    wanted = Desired()
    for entry in _section(wanted, file, "provider"):
        name = (entry["name"],)
        wanted.add(Item("provider", name, _fields(entry, PROVIDER_FIELDS), entry=entry))
        for inner in _section(wanted, entry, "credential", name):
            fields = _fields(inner, ["enabled"])
            wanted.add(Item("credential", (*name, inner["name"]), fields, name, inner.get("secret"), inner))
    for entry in _section(wanted, file, "model"):
        fields = sorted_lists(_fields(entry, MODEL_FIELDS), "capabilities")
        fields["price"] = canonical_price(fields["price"]) if fields.get("price") else None
        wanted.add(Item("model", (entry["name"],), fields, entry=entry))
    for entry in _section(wanted, file, "route"):
        fields = sorted_lists(_fields(entry, ROUTE_FIELDS), "fall_back_on")
        fields["cache"] = fields.get("cache") or dict(ROUTE_CACHE)
        wanted.add(Item("route", (entry["name"],), fields, entry=entry))
    for entry in _section(wanted, file, "workspace"):
        _workspace(wanted, entry)
    return wanted


def _workspace(wanted: Desired, entry: Entry) -> None:
    """A workspace's own fields are sections: those that the file leaves out stay as they are."""
    name = (entry["name"],)
    given = [field for field in WORKSPACE_FIELDS if entry.gives(field) and entry.get(field) is not None]
    fields = _fields(entry, given)
    wanted.add(Item("workspace", name, sorted_lists(fields, *({"blocked_users"} & fields.keys())), entry=entry))
    for inner in _section(wanted, entry, "team", name):
        wanted.add(Item("team", (*name, inner["name"]), {}, name, entry=inner))
    for inner in _section(wanted, entry, "key", name):
        fields = sorted_lists(_fields(inner, KEY_FIELDS), "models", "allowed_ips")
        wanted.add(Item("key", (*name, inner["name"]), fields, name, inner.get("secret"), inner))
    for inner in _section(wanted, entry, "limit", name, needs=("of", "unit")):
        subject = (inner["of"], inner.get("name") or "", inner["unit"], inner.get("per") or "")
        wanted.add(Item("limit", (*name, *subject), _fields(inner, ["amount", "burst"]), name, entry=inner))
    for inner in _section(wanted, entry, "budget", name):
        fields = sorted_lists(_fields(inner, BUDGET_FIELDS), "alert_at")
        wanted.add(Item("budget", (*name, inner["name"]), fields, name, entry=inner))
    if entry.gives("redaction") and "redaction" in entry:
        wanted.sections.add(("redaction", name))
        wanted.emptied |= {("redaction", name)} if entry["redaction"] is None else set()
        if (inner := entry["redaction"]) is not None:
            fields = sorted_lists(_fields(inner, REDACTION_FIELDS), "detect")
            wanted.add(Item("redaction", name, fields, name, entry=inner))
    for inner, nth in numbered(_section(wanted, entry, "guardrail", name, needs=("kind",)), lambda each: each["kind"]):
        wanted.add(Item("guardrail", (*name, inner["kind"], nth), _fields(inner, GUARDRAIL_FIELDS), name, entry=inner))
    for inner in _section(wanted, entry, "alert", name, needs=("kind", "url")):
        fields = sorted_lists(_fields(inner, ["to", "enabled"]), "to")
        wanted.add(Item("alert", (*name, inner["kind"], inner["url"]), fields, name, inner.get("secret"), inner))
    for inner in _section(wanted, entry, "prompt", name):
        _prompt(wanted, inner, name)
    for inner in _section(wanted, entry, "channel_rules", name):
        fields = sorted_lists(_fields(inner, CHANNEL_FIELDS), "required_suites", "publishers", "reviewers")
        wanted.add(Item("channel_rules", (*name, inner["name"]), fields, name, entry=inner))
    for inner in _section(wanted, entry, "webhook", name, needs=("url",)):
        fields = sorted_lists(_fields(inner, ["events", "enabled"]), "events")
        wanted.add(Item("webhook", (*name, inner["url"]), fields, name, inner.get("secret"), inner))
    for inner in _section(wanted, entry, "suite", name):
        which = (*name, inner["name"])
        wanted.add(Item("suite", which, _fields(inner, ["prompt", "route", "gate"]), name, entry=inner))
        for case in _section(wanted, inner, "case", which):
            wanted.add(Item("case", (*which, case["name"]), _fields(case, CASE_FIELDS), which, entry=case))


def _prompt(wanted: Desired, entry: Entry, workspace: tuple[str, ...]) -> None:
    name = (*workspace, entry["name"])
    wanted.add(Item("prompt", name, _fields(entry, ["description"]) | {"archived": False}, workspace, entry=entry))
    if entry.gives("versions") and len(entry.get("versions") or []) == len(entry.at("versions").value or []):
        for number, inner in enumerate(entry["versions"] or [], start=1):
            fields = _fields(inner, VERSION_FIELDS)
            wanted.add(Item("version", (*name, str(number)), fields, name, entry=inner))
    if entry.gives("channels") and entry.get("channels") is not None:
        wanted.sections.add(("channel", name))
        for channel, number in entry["channels"].items():
            place = entry.at("channels").value[channel]
            wanted.add(Item("channel", (*name, channel), {"version": number}, name, place=place))


def numbered(entries: Iterable[Any], kind: Callable[[Any], str]) -> Iterator[tuple[Any, str]]:
    """Each with a number that tells it from earlier ones of its kind: "" for the first, then "2", "3", …"""
    seen: dict[str, int] = {}
    for entry in entries:
        seen[kind(entry)] = seen.get(kind(entry), 0) + 1
        yield entry, str(seen[kind(entry)]) if seen[kind(entry)] > 1 else ""


def canonical_price(price: dict[str, Any]) -> dict[str, Any]:
    """A price with the rates that are given and no others, each amount in its canonical form."""
    canonical: dict[str, Any] = {}
    for name, value in price.items():
        if name == "tiers" and value:
            canonical[name] = sorted(map(canonical_price, value), key=lambda tier: tier["above_input_tokens"])
        elif name == "service_tiers" and value:
            canonical[name] = {tier: canonical_price(own) for tier, own in value.items()}
        elif isinstance(value, str):
            canonical[name] = dollars(nanos(value))
        elif value:
            canonical[name] = value
    if "above_input_tokens" not in canonical:
        canonical.setdefault("output", "0")
    return canonical


def _section(
    wanted: Desired, entry: Entry, kind: str, parent: tuple[str, ...] = (), *, needs: tuple[str, ...] = ("name",)
) -> list[Entry]:
    """The entries of one section that can be told apart; notes that the file has this section."""
    section = SECTION_OF[kind]
    if not entry.gives(section) or entry.get(section) is None:
        return []
    wanted.sections.add((kind, parent))
    return [inner for inner in entry[section] if all(need in inner for need in needs)]


def _fields(entry: Entry, names: Iterable[str]) -> dict[str, Any]:
    return {name: plain(entry[name]) for name in names if name in entry}
