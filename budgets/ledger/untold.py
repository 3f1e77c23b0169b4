"""Slices that were charged in doubt, though what was drawn from them has lines of its own."""

from collections.abc import Collection, Sequence
from functools import reduce
from operator import or_

from django.db.models import Q

from budgets.drift import as_line
from budgets.ledger.redis import owner_of
from budgets.models import Entry
from budgets.services.spending import book

DEAD_MOST = 50  # the newest of the dead; a line of a slice comes within a lease


def take_back(names: Collection[str], dead: Sequence[str]) -> int:
    """Book lines of these slices, and of the slices of these dead workers' journals, back to nothing; returns how many.

    The caller has the proof: it owns the slices, or the workers are dead and their journals are in the database. Then
    whatever was drawn and sent has its own line, and the rest was never spent.
    """
    whose = [f"slice.{owner_of(journal)}." for journal in dead[-DEAD_MOST:]]
    # A range, which every database finds by its index; the names end in a number.
    asked = [Q(attempt__gte=f"{prefix}0", attempt__lte=f"{prefix}{'9' * 12}") for prefix in whose]
    if names:
        asked.append(Q(attempt__in=names))
    if not asked:
        return 0
    doubts = Entry.objects.filter(reduce(or_, asked), status=Entry.Status.IN_DOUBT)
    known = {"nanos": 0, "tokens": 0, "status": "exact"}
    return book([as_line(entry, set()) | {"price": "", "classes": {}} | known for entry in doubts])
