"""Score a run's outputs, ask judges where there are any, and say what the gate makes of it. Scores are only added."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import transaction

from evals.gate import Answered, Scored, Verdict, by_case, decide
from evals.models import Approved, Output, Run, Score, Scoring, Suite
from evals.scorers import JUDGES, Answer, Assertion, Found, Undecided, score
from evals.scorers.judges import questions, read
from evals.services.running import NAME, Complete, budget_of, digest_of, frozen
from prompts.services.reviewing import record_result

MARK_BYTES = 12


class Judge:
    """Asks models for verdicts on one run's answers, within what is left of the run's cost cap."""

    def __init__(self, run: Run, complete: Complete) -> None:
        self.run, self._complete = run, complete
        self.spent = 0
        made = sum(run.outputs.values_list("cost_nanos", flat=True))
        self._left = None if run.max_cost_nanos is None else run.max_cost_nanos - made

    def __call__(self, model: str, messages: list[dict[str, str]]) -> str:
        """What the model says. Raises Undecided where it can't be asked."""
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "temperature": 0,
            "cache": "off",
            "metadata": {"tags": ["eval", "judge"], "run_id": self.run.pk},
        }
        left = None if self._left is None else self._left - self.spent
        if left is not None and left <= 0:
            raise Undecided("nothing is left of the run's cost cap to ask the judge with")
        said = async_to_sync(self._complete)(workspace=self.run.workspace, name=NAME, body=body | budget_of(left))
        self.spent += said.cost_nanos
        if said.code:
            raise Undecided(f"the judge could not be asked: {said.error}")
        return str(said.text)


def score_run(*, run: Run, actor: str, judge: Judge | None = None, baseline: Scoring | None = None) -> Scoring:
    """Score every output by its case's assertions and let the gate decide.

    judge   asks models; None asks nobody: then what judges said in an earlier scoring of this run counts, and an
            assertion that no judge has decided is undecided
    """
    cases = {case["name"]: case for case in run.cases}
    said_before = earlier(run) if judge is None else {}
    found: list[tuple[Output, list[tuple[Assertion, Found]]]] = []
    for output in run.outputs.order_by("id"):
        decided = []
        for number, row in enumerate(cases.get(output.case, {}).get("assertions") or [] if not output.code else []):
            known = said_before.get((output.pk, number))
            decided.append(decided_by(run, output, cases[output.case], row, judge, known))
        found.append((output, decided))
    verdict = decide(
        {name: len(case["assertions"] or []) for name, case in cases.items()},
        run.repeat,
        [answered(output, decided) for output, decided in found],
        run.gate,
        passed_cases(baseline) if baseline is not None else None,
    )
    if judge is not None and judge.spent:
        verdict.figures["judge_nanos"] = judge.spent
    return keep(run, found, verdict, actor, baseline)


def decided_by(
    run: Run, output: Output, case: Mapping[str, Any], row: Mapping[str, Any], judge: Judge | None, known: str | None
) -> tuple[Assertion, Found]:
    try:
        assertion = Assertion.read(row)
    except (Undecided, TypeError, ValueError) as error:
        return Assertion("unknown"), Found("error", reason=str(error)[:500])
    answer = answer_of(output, case)
    if assertion.kind not in JUDGES:
        return assertion, score(answer, assertion)
    try:
        if known is not None:
            return assertion, read(assertion, kept_replies(known))
        if judge is None:
            return assertion, Found("error", reason="No judge was asked.")
        mark = f"m{secrets.token_hex(MARK_BYTES)}"
        model = model_of(run, assertion)
        replies = [judge(model, messages) for messages in questions(answer, assertion, mark)]
        return assertion, read(assertion, replies)
    except Undecided as error:
        return assertion, Found("error", reason=str(error)[:500])


def model_of(run: Run, assertion: Assertion) -> str:
    """The model that judges: the assertion's own, else the one that was asked. Raises Undecided."""
    model = assertion.options.get("model") or run.route or (run.version.route if run.version else "")
    if not model:
        raise Undecided("the assertion's options name no model to judge by")
    return str(model)


def kept_replies(raw: str) -> list[str]:
    return [str(each) for each in json.loads(raw)]


def earlier(run: Run) -> dict[tuple[int, int], str]:
    """What judges said in the run's newest scoring, by output and assertion."""
    newest = run.scorings.order_by("-at", "-id").first()
    rows = newest.scores.exclude(raw="").values_list("output_id", "number", "raw") if newest is not None else []
    return {(output, number): raw for output, number, raw in rows}


def answer_of(output: Output, case: Mapping[str, Any]) -> Answer:
    inputs = case.get("inputs") or {}
    asked = [f"{name}: {value}" for name, value in inputs.items()]
    asked += [str(message.get("content") or "") for message in case.get("messages") or []]
    return Answer(
        text=output.text,
        tool_calls=output.tool_calls,
        finish=output.finish,
        ms=output.ms,
        cost_nanos=output.cost_nanos,
        personal=output.personal,
        expected=case.get("expected") or "",
        question="\n".join(asked),
    )


def answered(output: Output, decided: list[tuple[Assertion, Found]]) -> Answered:
    scored = [Scored(a.kind, found.verdict, a.weight, a.critical, found.reason) for a, found in decided]
    return Answered(
        case=output.case,
        repeat=output.repeat,
        scored=scored,
        code=output.code,
        error=output.error,
        cost_nanos=output.cost_nanos,
        ms=output.ms,
    )


def passed_cases(scoring: Scoring) -> dict[str, bool]:
    """Whether each case of a scoring passed, more often than not."""
    verdicts: dict[int, list[str]] = {}
    for output, verdict in scoring.scores.values_list("output_id", "verdict"):
        verdicts.setdefault(output, []).append(verdict)
    outputs = [
        Answered(output.case, output.repeat, [Scored("", each) for each in verdicts.get(output.pk, [])], output.code)
        for output in scoring.run.outputs.all()
    ]
    return by_case(outputs)


@transaction.atomic
def keep(
    run: Run,
    found: list[tuple[Output, list[tuple[Assertion, Found]]]],
    verdict: Verdict,
    actor: str,
    baseline: Scoring | None,
) -> Scoring:
    scoring = Scoring.objects.create(
        run=run,
        baseline=baseline,
        verdict=verdict.verdict,
        reasons=verdict.reasons,
        figures=verdict.figures,
        actor=actor,
    )
    Score.objects.bulk_create(
        Score(
            scoring=scoring,
            output=output,
            number=number,
            kind=assertion.kind[:20],
            verdict=one.verdict,
            score=one.score,
            reason=one.reason[:500],
            raw=one.raw,
        )
        for output, decided in found
        for number, (assertion, one) in enumerate(decided)
    )
    tell(run, verdict)
    return scoring


def tell(run: Run, verdict: Verdict) -> bool:
    """Let the channels that require this suite know, where the run says something of the version as it is served.

    It does not where the suite has changed since, or another route than the version's own was asked.
    """
    version = run.version
    suite = Suite.objects.filter(workspace_id=run.workspace_id, name=run.suite).first()
    if version is None or suite is None or digest_of(frozen(suite), suite.gate or {}) != run.digest:
        return False
    if version.route and run.route not in ("", version.route):
        return False
    ended = "passed" if verdict.verdict == "passed" else "failed"
    record_result(version=version, suite=run.suite, verdict=ended, run=run.pk, told=" ".join(verdict.reasons))
    return True


def approve_baseline(*, scoring: Scoring, actor: str, reason: str) -> Approved:
    """Compare later runs of the suite with this scoring. Raises ValidationError where it did not pass, or says not why."""
    if scoring.verdict != "passed":
        raise ValidationError("Only a run that passed can be a baseline.")
    approved = Approved(scoring=scoring, actor=actor, reason=reason)
    approved.full_clean()
    approved.save()
    return approved
