"""Reads of this app's rows that more than one door needs."""

from collections import defaultdict
from statistics import median

from django.db.models import Count, Q

from evals.models import Approved, Run, Score, Scoring

LOOKED_AT = 200  # scorings, from the newest


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


def quality_by_model() -> dict[str, float]:
    """How well each model did when it was last judged: the share of the assertions that held of its answers, 0 to 1.

    By each workspace's newest scoring in which the model answered; over several workspaces the median, so that none
    decides alone where everybody's calls go. What nobody could decide does not count. One query.
    """
    newest = Scoring.objects.exclude(verdict="broken").order_by("-id").values("id")[:LOOKED_AT]
    rows = (
        Score.objects.filter(scoring__in=newest, verdict__in=("pass", "fail"))
        .exclude(output__model="")
        .order_by("scoring")
        .values_list("output__model", "scoring__run__workspace", "scoring")
        .annotate(held=Count("id", filter=Q(verdict="pass")), decided=Count("id"))
    )
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for model, workspace, _, held, decided in rows:
        found[model][workspace] = held / decided  # a newer one takes its place
    return {model: median(shares.values()) for model, shares in found.items()}
