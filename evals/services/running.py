"""Runs of suites: ask every case once for each repeat, keep each answer as it comes, and say how it ended."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.module_loading import import_string

from evals.models import Output, Run, Suite
from evals.purse import Empty, Purse
from gateway.core.money import dollars
from prompts.models import Prompt, PromptVersion
from prompts.queries import current_deployment

NAME = "evals"  # as whom the gateway is asked: the key's name in records, limits and budgets
AT_ONCE = 8
REPEATS_MOST = 20
TRIES = 4
LONGEST_WAIT_SECONDS = 30.0
LIMITED = "rate_limit_exceeded"

Complete = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Unasked:
    """What stands in place of an answer where nothing was asked."""

    error: str
    code: str = "budget_exceeded"
    call_id: str = ""
    text: str = ""
    tool_calls: list[Any] = field(default_factory=list)
    finish: str = ""
    model: str = ""
    provider: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanos: int = 0
    ms: float = 0.0
    personal: list[str] = field(default_factory=list)
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be run. `prompt`: NAME@CHANNEL_OR_VERSION, empty as the suite has it; `route` empty: the version's."""

    prompt: str = ""
    route: str = ""
    repeat: int = 1
    max_cost_nanos: int | None = None


def completer() -> Complete:
    """What the gateway is asked through."""
    found: Complete = import_string(settings.EVALS_COMPLETER)
    return found


def frozen(suite: Suite) -> list[dict[str, Any]]:
    """The suite's cases as a run keeps them."""
    names = ("name", "inputs", "messages", "expected", "assertions", "tags")
    return [{name: getattr(case, name) for name in names} for case in suite.cases.order_by("position", "id")]


def digest_of(cases: list[dict[str, Any]], gate: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of all that decides what a run of these cases is worth."""
    return hashlib.sha256(json.dumps([cases, gate], sort_keys=True).encode()).hexdigest()


def begin_run(*, suite: Suite, wanted: Wanted, actor: str) -> Run:
    """Note what is asked of what. Raises ValidationError, in words for whoever asked for the run."""
    if not 1 <= wanted.repeat <= REPEATS_MOST:
        raise ValidationError(f"Ask each case from 1 to {REPEATS_MOST} times.")
    version = version_for(suite, wanted.prompt)
    route = wanted.route or ("" if version is not None and version.route else suite.route)
    if version is None and not route:
        raise ValidationError("The suite names neither a prompt nor a route: give one of them.")
    if version is not None and not version.route and not route:
        raise ValidationError(f"{version} names no route: say which one to ask.")
    cases, gate = frozen(suite), suite.gate or {}
    run = Run(
        workspace=suite.workspace,
        suite=suite.name,
        digest=digest_of(cases, gate),
        cases=cases,
        gate=gate,
        version=version,
        route=route,
        repeat=wanted.repeat,
        max_cost_nanos=wanted.max_cost_nanos,
        actor=actor,
    )
    run.full_clean(exclude=["cases", "gate"])
    run.save(force_insert=True)
    return run


def version_for(suite: Suite, asked: str) -> PromptVersion | None:
    """The version that is meant: by number or channel; where only the prompt is named, production's, else the newest.

    None where neither the suite nor the caller names a prompt. Raises ValidationError.
    """
    name, _, which = (asked or suite.prompt).partition("@")
    if not name:
        return None
    prompt = Prompt.objects.filter(workspace=suite.workspace, name=name, archived_at=None).first()
    if prompt is None:
        raise ValidationError(f"There is no prompt {name!r} in {suite.workspace}.")
    number = which.removeprefix("v")
    if number.isdecimal():
        version = prompt.versions.filter(number=int(number)).first()
    else:
        deployment = current_deployment(prompt, which or "production")
        version = deployment.version if deployment is not None else None
        if version is None and not which:
            version = prompt.versions.order_by("-number").first()
    if version is None:
        raise ValidationError(f"{name} has no version {which!r}, and serves none on a channel of this name.")
    return version


def generate(*, run: Run, complete: Complete) -> None:
    """Ask what was not asked yet, some at once, and keep each answer. A run that was broken off goes on where it was.

    No more than the run's cost cap is spent: each call may cost what is left, and the gateway refuses one that may
    cost more.
    """
    there = set(run.outputs.values_list("case", "repeat"))
    todo = [
        (case, time) for time in range(1, run.repeat + 1) for case in run.cases if (case["name"], time) not in there
    ]
    spent = sum(run.outputs.values_list("cost_nanos", flat=True))
    left = None if run.max_cost_nanos is None else max(0, run.max_cost_nanos - spent)
    async_to_sync(ask_all)(run, todo, complete, Purse(left, AT_ONCE))


async def ask_all(run: Run, todo: list[tuple[dict[str, Any], int]], complete: Complete, purse: Purse) -> None:
    waiting = iter(todo)

    async def work() -> None:
        for case, time in waiting:
            said = await ask(run, case, time, complete, purse)
            await sync_to_async(keep)(run, case["name"], time, said)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(todo))):
            group.create_task(work())


async def ask(run: Run, case: Mapping[str, Any], time: int, complete: Complete, purse: Purse) -> Any:
    """One answer. Waits where a rate limit says so, and where others must first end to know what is left."""
    body = body_of(run, case)
    for attempt in range(TRIES):
        try:
            said = await purse.spend(
                lambda nanos: complete(workspace=run.workspace, name=NAME, body=body | budget_of(nanos))
            )
        except Empty:
            return Unasked("Nothing is left of the run's cost cap.")
        if said.code != LIMITED or attempt == TRIES - 1:
            break
        await asyncio.sleep(min(said.retry_after or 1.0, LONGEST_WAIT_SECONDS))
    return said


def body_of(run: Run, case: Mapping[str, Any]) -> dict[str, Any]:
    """The call's body: the version with the case's inputs, or the case's messages alone. Nothing is taken from a cache."""
    body: dict[str, Any] = {
        "cache": "off",
        "metadata": {"tags": ["eval"], "run_id": run.pk, "case": case["name"]},
    }
    if run.route:
        body["model"] = run.route
    if run.version is not None:
        body |= {"prompt": f"{run.version.prompt.name}@{run.version.number}", "inputs": case.get("inputs") or {}}
    if case.get("messages"):
        body["messages"] = case["messages"]
    return body


def budget_of(nanos: int | None) -> dict[str, Any]:
    return {} if nanos is None else {"budget": dollars(nanos)}


def keep(run: Run, case: str, time: int, said: Any) -> Output:
    output = Output(
        run=run,
        case=case,
        repeat=time,
        call_id=said.call_id,
        text=said.text,
        tool_calls=list(said.tool_calls),
        finish=said.finish,
        model=said.model,
        provider=said.provider,
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        cost_nanos=said.cost_nanos,
        ms=said.ms,
        personal=list(said.personal),
        code=said.code,
        error=said.error,
    )
    output.save(force_insert=True)
    return output
