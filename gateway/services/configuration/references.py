"""What must hold between objects: every name that one uses of another exists, in the file or in the database."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.services.configuration.document import Node, Problems
from gateway.services.configuration.items import Desired, Item, Key
from gateway.services.configuration.kinds import closest
from gateway.services.configuration.plan import Plan


@dataclass(frozen=True, slots=True)
class Reference:
    """That an item uses a name: one of these keys must exist."""

    place: Node | None
    what: str
    name: str
    keys: tuple[Key, ...]


def references(item: Item) -> Iterator[Reference]:
    """Every name that an item uses of others."""
    fields, scope = item.fields, item.name[:1]
    match item.kind:
        case "model" if fields.get("provider"):
            yield Reference(item.at("provider"), "provider", fields["provider"], (("provider", (fields["provider"],)),))
        case "route":
            yield from _targets(item)
            if name := ((item.fields.get("options") or {}).get("shadow") or {}).get("model"):
                yield Reference(item.at("options"), "model", name, (("model", (name,)),))
        case "key":
            if fields.get("team"):
                yield Reference(item.at("team"), "team", fields["team"], (("team", (*scope, fields["team"])),))
            for name in fields.get("models") or []:
                yield callable_name(_element(item, "models", name), name)
        case "limit":
            of, match = item.name[1], item.name[2]
            if match and of in ("team", "key"):
                yield Reference(item.at("name"), of, match, ((of, (*scope, match)),))
        case "budget" if fields.get("match"):
            yield from _budget(item)
        case "version" | "suite" if fields.get("route"):
            yield callable_name(item.at("route"), fields["route"])
        case "channel":
            number = str(fields["version"])
            yield Reference(item.place, "version", number, (("version", (*item.parent, number)),))
        case "channel_rules":
            for name in fields["required_suites"]:
                yield Reference(_element(item, "required_suites", name), "suite", name, (("suite", (*scope, name)),))
    if item.kind == "suite" and fields.get("prompt"):
        yield Reference(item.at("prompt"), "prompt", fields["prompt"], (("prompt", (*scope, fields["prompt"])),))


def container(item: Item) -> Key:
    """The object in whose section an item stands."""
    kinds = {"credential": "provider", "version": "prompt", "channel": "prompt", "case": "suite"}
    return kinds.get(item.kind, "workspace"), item.parent


def callable_name(place: Node | None, name: str) -> Reference:
    """A name that callers may put into "model"."""
    return Reference(place, "route or model", name, (("route", (name,)), ("model", (name,))))


def _element(item: Item, field: str, value: str) -> Node | None:
    """Where one element of a list stands."""
    place = item.at(field)
    found = [node for node in place.value if node.value == value] if place and isinstance(place.value, list) else []
    return found[0] if found else place


def _targets(item: Item) -> Iterator[Reference]:
    for target in item.fields.get("targets") or []:
        if name := target.get("model"):
            place = (
                next((e.at("model") for e in item.entry["targets"] if e.get("model") == name), None)
                if item.entry
                else None
            )
            yield Reference(place, "model", name, (("model", (name,)),))


def _budget(item: Item) -> Iterator[Reference]:
    of, match, scope = item.fields.get("of"), item.fields["match"], item.name[:1]
    match of:
        case "team" | "key":
            yield Reference(item.at("match"), of, match, ((of, (*scope, match)),))
        case "provider":
            yield Reference(item.at("match"), "provider", match, (("provider", (match,)),))
        case "model":
            yield callable_name(item.at("match"), match)


def check_references(desired: Desired, current: dict[Key, Item], plan: Plan, problems: Problems) -> None:
    """Note every name in the file that nothing has, and every removal that would leave an object without what it uses.

    What is in the database and doesn't change is not blamed for names that were wrong before; nor is a version, which
    can't change.
    """
    removed = {change.item.key for change in plan.changes if change.sign == "-"}
    known = (current.keys() | desired.items.keys()) - removed
    touched = {change.item.key for change in plan.changes if change.sign != "-"}
    for item in desired.items.values():
        for reference in references(item):
            if item.key in touched or (removed & set(reference.keys) and item.kind != "version"):
                _check(reference, item, known, problems)
    for item in current.values():
        if item.key in desired.items or item.is_gone or removed & {item.key, container(item)}:
            continue
        for reference in references(item):
            lost = removed & set(reference.keys)
            if lost and not known & set(reference.keys) and item.kind != "version":
                kind = next(iter(lost))[0]
                problems.at(0, 0, "", f"--prune would remove {kind} {reference.name!r}, which {item.label} still uses")


def _check(reference: Reference, item: Item, known: set[Key], problems: Problems) -> None:
    if known & set(reference.keys) or reference.place is None:
        return
    what, name = reference.what, reference.name
    if what == "model" and ("route", (name,)) in known:
        problems.add(reference.place, f"{name!r} is a route; a target must be a model")
        return
    kinds = {kind for kind, _ in reference.keys}
    parent = reference.keys[0][1][:-1]
    names = sorted({key[-1] for kind, key in known if kind in kinds and key[:-1] == parent})
    hint = closest(name, names)
    if not hint and what == "version":
        hint = f"; the prompt has {len(names)}" if names else "; the prompt has none"
    problems.add(reference.place, f"there is no {what} {name!r}{hint}")
