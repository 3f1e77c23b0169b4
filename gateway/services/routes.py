"""Change a route's chain as a whole."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from gateway.models import Route, RouteTarget

SETTINGS = ("weight", "first_byte_timeout_s", "timeout_s", "conditions", "options")


@transaction.atomic
def set_targets(*, route: Route, targets: Sequence[Mapping[str, Any]]) -> list[RouteTarget]:
    """Make the chain exactly this, in this order. Each target holds `model` and, optionally, its other fields;
    what it leaves out goes back to the default.

    Raises ValidationError when a model stands in it twice, or a target's field is wrong.
    """
    names = [target["model"].name for target in targets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValidationError({"targets": f"{twice[0]} stands in the chain twice."})
    old = {target.model_id: target for target in RouteTarget.objects.filter(route=route)}
    chain = []
    for position, wanted in enumerate(targets):
        row = old.pop(wanted["model"].pk, None) or RouteTarget(route=route, model=wanted["model"])
        before = {field.attname: getattr(row, field.attname) for field in RouteTarget._meta.concrete_fields}
        for name, value in {**_defaults(), "position": position, **wanted}.items():
            setattr(row, name, value)
        row.full_clean()
        if row._state.adding or any(getattr(row, name) != value for name, value in before.items()):
            row.save()
        chain.append(row)
    for gone in old.values():
        gone.delete()
    return chain


def _defaults() -> dict[str, Any]:
    """A target's settings as they are when nobody sets them."""
    fields = {field.name: field for field in RouteTarget._meta.concrete_fields}
    return {name: fields[name].get_default() for name in SETTINGS}
