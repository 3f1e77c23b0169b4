"""The difference between what a file asks for and what is there: what to add, change and remove, in order."""

from dataclasses import dataclass, field
from typing import Any

from gateway.services.configuration.document import Problems
from gateway.services.configuration.items import KINDS, ORDERED, Desired, Item, Key
from gateway.services.configuration.rows import Shape

LONGEST_SHOWN = 60
NEVER_CHANGED = frozenset({"version"})
NEVER_REMOVED = frozenset({"version"})
REMOVED_AS = {"key": "revoked", "prompt": "archived", "workspace": "switched off", "channel": "withdrawn"}


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the plan.

    sign    + add, ~ change, - remove
    item    as it will be; for - as it is
    before  as it is, for ~
    fields  for ~: what changes, as (name, old, new); a secret's values are never here
    """

    sign: str
    item: Item
    before: Item | None = None
    fields: tuple[tuple[str, Any, Any], ...] = ()

    def __str__(self) -> str:
        if self.sign == "-" and self.item.kind in REMOVED_AS:
            return f"- {self.item.label} ({REMOVED_AS[self.item.kind]})"
        if self.sign != "~":
            return f"{self.sign} {self.item.label}"
        told = ", ".join(
            f"{name} replaced" if name == "secret" else f"{name} {shown(old)} -> {shown(new)}"
            for name, old, new in self.fields
        )
        return f"~ {self.item.label}: {told}"


@dataclass(slots=True)
class Plan:
    """Every change in the order in which it must be done, and what a person should know beside them."""

    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        return [str(change) for change in self.changes] or ["nothing to change"]


def shown(value: Any) -> str:
    """A value on one line, shortened in its middle."""
    text = "nothing" if value is None else value if isinstance(value, str) and value.isprintable() else repr(value)
    text = repr(text) if text == "" or (" " in text and isinstance(value, str)) else text
    if len(text) <= LONGEST_SHOWN:
        return text
    half = LONGEST_SHOWN // 2
    return f"{text[:half]}…{text[-half:]}"


def differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """What differs, as (dotted path, old, new). Lists are told by index where their lengths agree."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(name for name in new if name not in old)]
        inner = [differences(old.get(name), new.get(name), f"{path}.{name}" if path else name) for name in names]
        return [difference for found in inner for difference in found]
    if (
        isinstance(old, list)
        and isinstance(new, list)
        and len(old) == len(new)
        and any(isinstance(x, dict) for x in old)
    ):
        pairs = enumerate(zip(old, new, strict=True))
        return [found for at, (one, other) in pairs for found in differences(one, other, f"{path}[{at}]")]
    return [] if old == new and isinstance(old, bool) == isinstance(new, bool) else [(path, old, new)]


def compare(
    desired: Desired, current: dict[Key, Item], shapes: dict[str, Shape], problems: Problems, *, prune: bool
) -> Plan:
    """The plan. Notes a problem where a file asks for what can't be done to what is there."""
    plan = Plan()
    moved = _moved(desired, current)
    for kind in KINDS:
        for item in (item for item in desired.items.values() if item.kind == kind):
            before = current.get(item.key)
            if before is None:
                plan.changes.append(Change("+", item))
            elif kind == "key" and before.is_gone:
                plan.notes.append(f"{item.label} was revoked and stays so; take it out of the file, or name a new key")
            else:
                _change(plan, item, before, moved, shapes[kind], problems)
    for kind in reversed(KINDS):
        plan.changes.extend(
            Change("-", item)
            for item in current.values()
            if item.kind == kind and not item.is_gone and item.key not in desired.items
            if kind not in NEVER_REMOVED and _goes(item, desired, prune=prune)
        )
    return plan


def _change(plan: Plan, item: Item, before: Item, moved: set[Key], shape: Shape, problems: Problems) -> None:
    """Add what is different about an item that exists."""
    found = [each for name in item.fields for each in differences(before.fields.get(name), item.fields[name], name)]
    if item.kind in NEVER_CHANGED:
        words = [name for name, _, _ in found if name != "message"]
        if words and (place := item.at("messages")) is not None:
            problems.add(
                item.entry.node if item.entry else place,
                f"version {item.name[-1]} of {'/'.join(item.parent)} is stored with other {words[0].split('[')[0]}, and "
                "versions never change: leave it as it was and append a new one",
            )
        elif found:
            plan.notes.append(f"{item.label} keeps its message: versions never change")
        return
    if item.secret is not None and not shape.has_secret(before.row, item.secret):
        found.append(("secret", None, None))
    if item.key in moved and before.position != item.position:
        found.append(("position", before.position, item.position))
    if found:
        plan.changes.append(Change("~", item, before, tuple(found)))


def _moved(desired: Desired, current: dict[Key, Item]) -> set[Key]:
    """Items of ordered sections whose order is not the file's, or has a new one within."""
    moved: set[Key] = set()
    for section in desired.sections:
        if section[0] in ORDERED:
            wanted = [item.key for item in desired.items.values() if item.section == section]
            there = [key for key in current if key in set(wanted)]
            if there != wanted:
                moved |= set(wanted)
    return moved


def _goes(item: Item, desired: Desired, *, prune: bool) -> bool:
    """Whether an item that the file doesn't name is to be removed: by --prune, where the file has its section.

    A section that the file empties in words (`redaction: null`) loses its item without --prune too. What stands in an
    object that is removed goes with it.
    """
    if item.section in desired.emptied:
        return True
    return prune and item.section in desired.sections
