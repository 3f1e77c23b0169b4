"""The running configuration as a file that `apply` finds nothing to change in. Secrets stay out of it."""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from gateway.services.configuration.applying import current_items
from gateway.services.configuration.document import Words
from gateway.services.configuration.items import SECTION_OF, Item, Key
from gateway.services.configuration.records import NEEDED, ListOf, Record
from gateway.services.configuration.schema import FILE

HEAD = """\
# The configuration of this gateway, as `manage.py export` wrote it. `manage.py apply FILE` makes it so again.
# Secrets are not part of it: where a stored one is kept, a comment shows the line that a fresh database needs.
# An API key without `secret` is made when it doesn't exist, and printed once.
# A field that is left out has its default; a section that is left out is not touched. See docs/configuration.md.
"""
PLACEHOLDER = re.compile(r"^( *)(- )?secret: '?\{ENV ([A-Z0-9_]+)\}'?$", re.MULTILINE)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper that quotes every text which our reader, or YAML 1.1's, would take for something else."""

    yaml_implicit_resolvers = {
        first: [*Words.yaml_implicit_resolvers.get(first, []), *yaml.SafeDumper.yaml_implicit_resolvers.get(first, [])]
        for first in {*Words.yaml_implicit_resolvers, *yaml.SafeDumper.yaml_implicit_resolvers}
    }

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    """Lines of text stand as lines where YAML can keep them so."""
    is_block = "\n" in value and not re.search(r"[ \t]\n|^\s|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]", value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if is_block else None)


_Dumper.add_representer(str, _text)


def export_configuration(*, workspace: str | None = None) -> str:
    """The file's text; with `workspace`, that workspace alone. Raises LookupError when there is no such workspace."""
    items = current_items()
    if workspace is not None and ("workspace", (workspace,)) not in items:
        raise LookupError(f"there is no workspace {workspace!r}")
    file: dict[str, Any] = {"version": 1}
    if workspace is None:
        file["providers"] = [_provider(items, item) for item in _children(items, "provider")]
        for kind in ("model", "route"):
            section = SECTION_OF[kind]
            file[section] = [_entry(item, _record(FILE, section)) for item in _children(items, kind)]
    spaces = [item for item in _children(items, "workspace") if workspace in (None, item.name[0])]
    file["workspaces"] = [_workspace(items, item) for item in spaces]
    text = yaml.dump(file, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)
    text = re.sub(r"^(?=(?:providers|models|routes|workspaces):)", "\n", text, flags=re.MULTILINE)
    return HEAD + PLACEHOLDER.sub(r"\1# secret: {env: \3}", text)


def _children(items: dict[Key, Item], kind: str, *parent: str) -> list[Item]:
    """What stands in one section, but for what is out of use or can't stand in a file."""
    found = [item for item in items.values() if item.kind == kind and item.parent == parent]
    return [item for item in found if kind == "workspace" or not (item.is_gone or _is_unfit(item))]


def _is_unfit(item: Item) -> bool:
    """A route without a target does nothing."""
    return item.kind == "route" and not item.fields["targets"]


def _record(record: Record, section: str) -> Record:
    """What one entry of a section of this record is."""
    kind = record.fields[section].kind
    inner = kind.kind if isinstance(kind, ListOf) else kind
    assert isinstance(inner, Record)
    return inner


def _entry(item: Item, record: Record, **named: Any) -> dict[str, Any]:
    """An item as the file has it: what tells it apart first, then each field that is not at its default."""
    entry = named or {"name": item.name[-1]}
    for name, field in record.fields.items():
        if name in item.fields and name not in entry:
            value = _without_defaults(item.fields[name], field.kind)
            if value != field.default and not (value == {} and isinstance(field.kind, Record)):
                entry[name] = value
    return entry


def _without_defaults(value: Any, kind: Any) -> Any:
    """A nested object without the fields that are at their defaults."""
    if isinstance(kind, ListOf) and isinstance(value, list):
        return [_without_defaults(inner, kind.kind) for inner in value]
    if not isinstance(kind, Record) or not isinstance(value, dict) or kind.is_sparse or kind.is_open:
        return value
    return {
        name: _without_defaults(inner, kind.fields[name].kind)
        for name, inner in value.items()
        if kind.fields[name].default is NEEDED or inner != kind.fields[name].default
    }


def _placeholder(*parts: str) -> str:
    """A telling name of an environment variable, marked to become a comment."""
    name = re.sub(r"[^A-Z0-9]+", "_", "_".join(parts).upper()).strip("_")
    return f"{{ENV {name}}}"


def _provider(items: dict[Key, Item], item: Item) -> dict[str, Any]:
    record = _record(FILE, "providers")
    entry = _entry(item, record)
    credentials = []
    for child in _children(items, "credential", *item.name):
        one = _entry(child, _record(record, "credentials"))
        one["secret"] = _placeholder(*child.name, "secret")
        credentials.append(one)
    return entry | {"credentials": credentials}


def _workspace(items: dict[Key, Item], item: Item) -> dict[str, Any]:
    record = _record(FILE, "workspaces")
    name = item.name[0]
    # A workspace's own fields are sections: written in full, because a section that is left out is not touched.
    entry: dict[str, Any] = {"name": name} | item.fields
    for kind in ("team", "key"):
        entry[SECTION_OF[kind]] = _list(items, record, kind, name)
    entry["limits"] = [
        _named({"of": of, "name": match, "unit": unit, "per": per}, child, _record(record, "limits"))
        for child in _children(items, "limit", name)
        for _, of, match, unit, per in [child.name]
    ]
    entry["budgets"] = _list(items, record, "budget", name)
    entry["redaction"] = None
    for child in _children(items, "redaction", name):
        entry["redaction"] = _entry(child, _record(record, "redaction"), detect=child.fields["detect"])
    entry["guardrails"] = [
        _named({"kind": child.name[1]}, child, _record(record, "guardrails"))
        for child in _children(items, "guardrail", name)
    ]
    entry["alerts"] = [_alert(child, _record(record, "alerts")) for child in _children(items, "alert", name)]
    entry["prompts"] = [_prompt(items, child, _record(record, "prompts")) for child in _children(items, "prompt", name)]
    entry["channels"] = _list(items, record, "channel_rules", name)
    entry["webhooks"] = [_webhook(child, _record(record, "webhooks")) for child in _children(items, "webhook", name)]
    entry["suites"] = []
    for child in _children(items, "suite", name):
        suite = _entry(child, _record(record, "suites"))
        cases = _list(items, _record(record, "suites"), "case", *child.name)
        entry["suites"].append(suite | {"cases": cases})
    return entry


def _list(items: dict[Key, Item], record: Record, kind: str, *parent: str) -> list[dict[str, Any]]:
    section = _record(record, SECTION_OF[kind])
    return [_entry(child, section) for child in _children(items, kind, *parent)]


def _named(named: dict[str, Any], item: Item, record: Record) -> dict[str, Any]:
    """An entry that several fields tell apart."""
    return _entry(item, record, **{name: value for name, value in named.items() if value != ""})


def _alert(item: Item, record: Record) -> dict[str, Any]:
    workspace, kind, url = item.name
    entry = _named({"kind": kind, "url": url}, item, record)
    if item.row.sealed is not None:
        entry["secret"] = _placeholder(workspace, "alert", "secret")
    return entry


def _webhook(item: Item, record: Record) -> dict[str, Any]:
    workspace, url = item.name
    entry = _entry(item, record, url=url)
    if item.row.sealed is not None:
        entry["secret"] = _placeholder(workspace, "webhook", "secret")
    return entry


def _prompt(items: dict[Key, Item], item: Item, record: Record) -> dict[str, Any]:
    entry = _entry(item, record)
    versions = _record(record, "versions")
    entry["versions"] = [
        {name: value for name, value in _entry(child, versions, name="").items() if name != "name"}
        for child in _children(items, "version", *item.name)
    ]
    channels: Iterable[Item] = _children(items, "channel", *item.name)
    return entry | {"channels": {child.name[-1]: child.fields["version"] for child in channels}}
