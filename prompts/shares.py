"""How an experiment's arms share the 10,000 places, so that a changed share moves as few units as it can."""

from typing import Any

from django.core.exceptions import ValidationError

PLACES = 10_000

Range = list[int]


def reallocated(arms: list[dict[str, Any]], weights: dict[str, int]) -> list[dict[str, Any]]:
    """The arms with ranges of these weights, in basis points that add up to 10,000.

    An arm that shrinks gives up its last places, an arm that grows takes freed ones and keeps all that it has. So when
    a treatment's share is raised, no unit that has seen it ever goes back. Raises ValidationError.
    """
    names = [arm["name"] for arm in arms]
    if len(arms) < 2 or len(set(names)) != len(names):
        raise ValidationError({"arms": "An experiment has two arms or more, each with its own name."})
    if set(weights) != set(names):
        raise ValidationError({"arms": f"Give a weight for each of: {', '.join(names)}."})
    if any(not isinstance(weight, int) or isinstance(weight, bool) or weight < 0 for weight in weights.values()):
        raise ValidationError({"arms": "A weight is a whole number of basis points, 0 or more."})
    if sum(weights.values()) != PLACES:
        raise ValidationError(
            {"arms": f"The weights must add up to {PLACES} basis points, not {sum(weights.values())}."}
        )
    kept = {arm["name"]: first(arm.get("ranges") or [], weights[arm["name"]]) for arm in arms}
    free = gaps([each for ranges in kept.values() for each in ranges])
    for name in names:
        lacking = weights[name] - size(kept[name])
        taken = first(free, lacking)
        kept[name] = merged(kept[name] + taken)
        free = without(free, lacking)
    return [{**arm, "weight": weights[arm["name"]], "ranges": kept[arm["name"]]} for arm in arms]


def size(ranges: list[Range]) -> int:
    return sum(end - start for start, end in ranges)


def first(ranges: list[Range], places: int) -> list[Range]:
    """The first so many places of the ranges."""
    found: list[Range] = []
    for start, end in ranges:
        if places <= 0:
            break
        found.append([start, min(end, start + places)])
        places -= found[-1][1] - start
    return found


def without(ranges: list[Range], places: int) -> list[Range]:
    """The ranges without their first so many places."""
    left: list[Range] = []
    for start, end in ranges:
        cut = min(max(places, 0), end - start)
        places -= cut
        if start + cut < end:
            left.append([start + cut, end])
    return left


def gaps(ranges: list[Range]) -> list[Range]:
    """The places in none of the ranges."""
    found, at = [], 0
    for start, end in sorted(ranges):
        if start > at:
            found.append([at, start])
        at = max(at, end)
    return [*found, [at, PLACES]] if at < PLACES else found


def merged(ranges: list[Range]) -> list[Range]:
    """The same places, neighbours joined; the order in which they were taken is kept."""
    found: list[Range] = []
    for start, end in ranges:
        if found and found[-1][1] == start:
            found[-1] = [found[-1][0], end]
        else:
            found.append([start, end])
    return found
