"""What a changed suite does to the results that rest on it."""

from django.db import transaction
from django.db.models import Max

from evals.models import Run, Suite
from evals.services.running import digest_of, frozen
from prompts.models import SuiteResult
from prompts.services.reviewing import record_result


@transaction.atomic
def outdate(*, workspace_id: int, name: str) -> int:
    """Say of every version that passed this suite that it passed another one; returns how many.

    A change that changes nothing which was asked or decided leaves results as they are.
    """
    results = SuiteResult.objects.filter(suite=name, version__prompt__workspace_id=workspace_id)
    newest = results.values("version").annotate(newest=Max("id")).values("newest")
    passed = list(results.filter(pk__in=newest, verdict="passed").select_related("version__prompt"))
    if not passed:
        return 0
    suite = Suite.objects.filter(workspace_id=workspace_id, name=name).first()
    now = "" if suite is None else digest_of(frozen(suite), suite.gate or {})
    from_runs = dict(runs_of(passed))
    changed = [each for each in passed if from_runs.get(each.run) != now]
    for each in changed:
        record_result(version=each.version, suite=name, verdict="outdated")
    return len(changed)


def runs_of(results: list[SuiteResult]) -> list[tuple[str, str]]:
    """The digest of the suite in each result's run."""
    return list(Run.objects.filter(pk__in=[each.run for each in results]).values_list("pk", "digest"))
