"""`manage.py eval run|score|compare|approve`: suites from the command line, with an exit code for CI.

0 passed   1 gate failed   2 usage   3 infrastructure   4 incomplete   5 cost cap   6 inconclusive
"""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from evals.gate import EXITS, difference
from evals.models import Run, Scoring, Suite
from evals.queries import approved_baseline, newest_scoring, run_named
from evals.reports import difference_line, junit, lines, told
from evals.services.running import Wanted, begin_run, completer, generate
from evals.services.scoring import Judge, approve_baseline, passed_cases, score_run
from gateway.core.money import nanos
from gateway.runtime import Runtime
from tenants.history import acting
from tenants.models import Workspace

USAGE, INFRASTRUCTURE = 2, 3
ACTOR = "eval"


class Usage(CommandError):
    """What was asked for can't be done as it was asked."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=USAGE)


class Command(BaseCommand):
    help = "Run a suite through the gateway, score a run again, compare two runs, or approve one as the baseline."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="run|score|compare|approve")
        run = actions.add_parser("run", help="ask every case, score the answers, and pass or fail")
        run.add_argument("--workspace", required=True, metavar="W")
        run.add_argument("--suite", required=True, metavar="S")
        run.add_argument("--prompt", default="", metavar="NAME@CHANNEL_OR_VERSION", help="default: the suite's")
        run.add_argument("--route", default="", metavar="R", help="the route or model to ask; default: the version's")
        run.add_argument("--repeat", type=int, default=1, metavar="N", help="ask each case so often (default: 1)")
        run.add_argument("--max-cost", metavar="USD", help="spend no more than this, judges included")
        score = actions.add_parser("score", help="score a run's kept answers again, without asking for new ones")
        score.add_argument("run", metavar="RUN", help="a run's id, or its beginning")
        score.add_argument("--allow-judge", action="store_true", help="ask judges again; else what they said counts")
        for each in (run, score):
            each.add_argument("--baseline", default="", metavar="RUN|approved", help="compare with this run")
            each.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit's XML here")
            each.add_argument("--json", type=Path, metavar="FILE", help="write the whole result here as JSON")
        compare = actions.add_parser("compare", help="two runs of a suite, case by case, with an interval")
        compare.add_argument("before", metavar="A")
        compare.add_argument("after", metavar="B")
        compare.add_argument("--json", type=Path, metavar="FILE", help="write the comparison here as JSON")
        approve = actions.add_parser("approve", help="let `--baseline approved` mean this run from now on")
        approve.add_argument("run", metavar="RUN")
        approve.add_argument("--reason", required=True)

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        deeds: dict[str, Callable[[dict[str, Any]], int]] = {
            "run": self.run,
            "score": self.score,
            "compare": self.compare,
            "approve": self.approve,
        }
        try:
            with acting(ACTOR):
                code = deeds[action](options)
        except ValidationError as error:
            raise Usage(" ".join(error.messages)) from None
        except (DatabaseError, OSError) as error:
            raise CommandError(f"{type(error).__name__}: {error}", returncode=INFRASTRUCTURE) from None
        if code:
            sys.exit(code)

    def run(self, options: dict[str, Any]) -> int:
        workspace = Workspace.objects.filter(name=options["workspace"]).first()
        if workspace is None:
            raise Usage(f"There is no workspace {options['workspace']!r}.")
        suite = Suite.objects.filter(workspace=workspace, name=options["suite"]).first()
        if suite is None:
            known = ", ".join(workspace.suites.values_list("name", flat=True)) or "none"
            raise Usage(f"There is no suite {options['suite']!r} in {workspace}. It has {known}.")
        wanted = Wanted(options["prompt"], options["route"], options["repeat"], cost_of(options["max_cost"]))
        baseline = baseline_for(options["baseline"], workspace, suite.name)
        run = begin_run(suite=suite, wanted=wanted, actor=ACTOR)
        with serving():
            complete = completer()
            generate(run=run, complete=complete)
            scoring = score_run(run=run, actor=ACTOR, judge=Judge(run, complete), baseline=baseline)
        return self.report(scoring, options)

    def score(self, options: dict[str, Any]) -> int:
        run = found(options["run"])
        baseline = baseline_for(options["baseline"], run.workspace, run.suite)
        if not options["allow_judge"]:
            return self.report(score_run(run=run, actor=ACTOR, baseline=baseline), options)
        with serving():
            scoring = score_run(run=run, actor=ACTOR, judge=Judge(run, completer()), baseline=baseline)
        return self.report(scoring, options)

    def compare(self, options: dict[str, Any]) -> int:
        before, after = scored(found(options["before"])), scored(found(options["after"]))
        if (before.run.workspace_id, before.run.suite) != (after.run.workspace_id, after.run.suite):
            raise Usage(f"Only runs of one suite can be compared: {before.run.suite} and {after.run.suite}.")
        one, other = passed_cases(before), passed_cases(after)
        both = [name for name in one if name in other]
        if not both:
            raise Usage("The runs have no case in common.")
        change = difference([(one[name], other[name]) for name in both])
        change["newly_passing"] = [name for name in both if other[name] and not one[name]]
        change["newly_failing"] = [name for name in both if one[name] and not other[name]]
        self.stdout.write(f"{after.run.about}: {difference_line(change, before)}")
        for mark, names in (("+", change["newly_passing"]), ("-", change["newly_failing"])):
            for name in names:
                self.stdout.write(f"  {mark} {name}")
        if before.run.digest != after.run.digest:
            self.stdout.write("  The suite was changed between the two: only what is in both was compared.")
        write(options["json"], json.dumps({"before": before.run_id, "after": after.run_id, **change}, indent=2) + "\n")
        return 0

    def approve(self, options: dict[str, Any]) -> int:
        scoring = scored(found(options["run"]))
        approve_baseline(scoring=scoring, actor=ACTOR, reason=options["reason"])
        self.stdout.write(f"{scoring.run.suite} is compared with {scoring.run.about} from now on.")
        return 0

    def report(self, scoring: Scoring, options: dict[str, Any]) -> int:
        for line in lines(scoring):
            self.stdout.write(line)
        write(options["junit"], junit(scoring))
        write(options["json"], json.dumps(told(scoring), indent=2, ensure_ascii=False) + "\n")
        return EXITS[scoring.verdict]


class serving:
    """The gateway in this process: budgets, records and all. What is not started is not needed for a few calls."""

    def __enter__(self) -> None:
        self.runtime = Runtime()
        self.runtime.start()

    def __exit__(self, *error: object) -> None:
        self.runtime.stop()


def found(text: str) -> Run:
    run = run_named(text)
    if run is None:
        raise Usage(f"There is no run {text!r}, or more than one begins so.")
    return run


def scored(run: Run) -> Scoring:
    scoring = newest_scoring(run)
    if scoring is None:
        raise Usage(f"Run {run.pk} was never scored: score it first.")
    return scoring


def baseline_for(text: str, workspace: Workspace, suite: str) -> Scoring | None:
    """The scoring that is meant; None where none is asked for. Raises Usage."""
    if not text:
        return None
    if text == "approved":
        approved = approved_baseline(workspace_id=workspace.pk, suite=suite)
        if approved is None:
            raise Usage(f"No run of {suite} was approved yet: `manage.py eval approve RUN --reason …` does.")
        return approved
    run = run_named(text, workspace_id=workspace.pk)
    if run is None or run.suite != suite:
        raise Usage(f"There is no run {text!r} of {suite} in {workspace}.")
    return scored(run)


def cost_of(text: str | None) -> int | None:
    """A decimal amount of dollars in nano-dollars. Raises Usage."""
    if text is None:
        return None
    try:
        amount = nanos(Decimal(text) if text.strip() else "")
    except (ValueError, ArithmeticError):
        raise Usage(f"{text!r} is no amount of dollars.") from None
    if amount < 0:
        raise Usage("A cost cap is 0 or more.")
    return amount


def write(path: Path | None, text: str) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
