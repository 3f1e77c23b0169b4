"""Reads of this app's rows that more than one door needs."""

from evals.models import Approved, Run, Scoring


def newest_scoring(run: Run) -> Scoring | None:
    """What was last said of a run; None where it was broken off before anything was."""
    return run.scorings.order_by("-at", "-id").first()


def approved_baseline(*, workspace_id: int, suite: str) -> Scoring | None:
    """The scoring that runs of this suite are compared with; None where none was approved."""
    rows = Approved.objects.filter(scoring__run__workspace_id=workspace_id, scoring__run__suite=suite)
    newest = rows.select_related("scoring__run").order_by("-id").first()
    return newest.scoring if newest is not None else None


def run_named(text: str, *, workspace_id: int | None = None) -> Run | None:
    """The run whose id is this, or begins with it; None where there is none, or more than one."""
    rows = Run.objects.filter(pk__startswith=text).select_related("workspace", "version__prompt")
    if workspace_id is not None:
        rows = rows.filter(workspace_id=workspace_id)
    found = list(rows[:2]) if text else []
    return found[0] if len(found) == 1 else None
