"""Apply a configuration file: read it, compare it with what is there, and do the difference in one transaction."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError

from gateway.models import Revision
from gateway.services.configuration import rows_routing, rows_rules, rows_tenants, rows_words
from gateway.services.configuration.document import DocumentError, Node, Problems, load_document
from gateway.services.configuration.items import Desired, Item, Key, desired
from gateway.services.configuration.kinds import BAD, Reading
from gateway.services.configuration.plan import Change, Plan, compare
from gateway.services.configuration.references import check_references
from gateway.services.configuration.rows import ACTOR, Rows, Shape
from gateway.services.configuration.schema import FILE
from tenants.history import acting

SHAPES: dict[str, Shape] = {
    shape.kind: shape
    for shape in (
        rows_routing.Providers(),
        rows_routing.Credentials(),
        rows_routing.Models(),
        rows_routing.Routes(),
        rows_tenants.Workspaces(),
        rows_tenants.Teams(),
        rows_tenants.Keys(),
        rows_tenants.Limits(),
        rows_rules.Budgets(),
        rows_rules.Redactions(),
        rows_rules.Guardrails(),
        rows_rules.Alerts(),
        rows_words.Prompts(),
        rows_words.Versions(),
        rows_words.Channels(),
        rows_words.Suites(),
        rows_words.Cases(),
        rows_words.ChannelRules(),
        rows_words.Webhooks(),
    )
}


@dataclass(frozen=True, slots=True)
class Applied:
    """What was planned and, unless it was a dry run, done.

    secrets  the API keys that were made, by WORKSPACE/NAME: to be shown once
    """

    plan: Plan
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    is_done: bool = False


def current_items() -> dict[Key, Item]:
    """The configuration in the database. One query for each kind, whatever the number of rows (models take two)."""
    return {item.key: item for shape in SHAPES.values() for item in shape.read()}


def apply_file(
    *,
    path: Path,
    dry_run: bool = False,
    prune: bool = False,
    environment: Mapping[str, str] | None = None,
    actor: str = ACTOR,
) -> Applied:
    """Make the database say what the file says. `actor` is who did it, in the history and the audit trail.

    Raises DocumentError with every problem that was found; then nothing was changed.
    """
    root, problems = load_document(path)
    reading = Reading(problems, os.environ if environment is None else environment)
    entry = FILE.read(root, reading)
    wanted = Desired() if entry is BAD else desired(entry)
    with acting(actor), transaction.atomic():
        _lock()
        current = current_items()
        plan = compare(wanted, current, SHAPES, problems, prune=prune)
        check_references(wanted, current, plan, problems)
        _check_secrets(plan, problems)
        problems.raise_if_any()
        plan.notes = [*reading.notes, *plan.notes]
        if dry_run or not plan.changes:
            return Applied(plan, is_done=not dry_run)
        rows = Rows({key: item.row for key, item in current.items()})
        for change in plan.changes:
            _do(change, rows, problems)
        problems.raise_if_any()
    return Applied(plan, rows.made, is_done=True)


def _lock() -> None:
    """Let one apply happen at a time. SQLite's transactions are one at a time already."""
    Revision.objects.get_or_create(pk=1)
    if connection.features.has_select_for_update:
        Revision.objects.select_for_update().get(pk=1)


def _check_secrets(plan: Plan, problems: Problems) -> None:
    """A new credential needs its secret, and no two keys may share one."""
    seen: dict[str, Item] = {}
    for change in plan.changes:
        item = change.item
        if item.kind == "credential" and change.sign == "+" and item.entry and item.entry.get("secret", "") is None:
            problems.add(item.entry.node, "this credential is new, so it needs `secret: {env: NAME}`")
        if item.kind == "key" and change.sign != "-" and item.secret is not None:
            first = seen.setdefault(item.secret.text, item)
            if first is not item and (place := item.at("secret")) is not None:
                problems.add(place, f"is the secret of {first.label} too; each key needs its own")


def _do(change: Change, rows: Rows, problems: Problems) -> None:
    """Do one change. What the database refuses becomes a problem at the item's place; the transaction is given up."""
    item, shape = change.item, SHAPES[change.item.kind]
    try:
        if change.sign == "-":
            shape.remove(item.row)
        else:
            rows.by_key[item.key] = shape.put(item, change.before.row if change.before else None, rows)
    except ValidationError as error:
        _refused(item, problems, _messages(error))
    except ProtectedError:
        _refused(item, problems, "can't be removed: other objects still use it")
    except IntegrityError as error:
        _refused(item, problems, f"the database refused it: {error}")


def _messages(error: ValidationError) -> str:
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    told = error.message_dict.items()
    return " ".join(f"{'' if name == '__all__' else name + ': '}{' '.join(messages)}" for name, messages in told)


def _refused(item: Item, problems: Problems, message: str) -> None:
    place: Any = item.entry.node if item.entry else item.place
    if isinstance(place, Node):
        problems.add(place, message)
    else:
        problems.at(0, 0, "", f"{item.label}: {message}")
    problems.raise_if_any()


__all__ = ["SHAPES", "Applied", "DocumentError", "apply_file", "current_items"]
