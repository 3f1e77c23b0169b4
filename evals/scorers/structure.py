"""JSON, numbers and tool calls in an answer, and what it took."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

from evals.scorers.kept import Answer, Assertion, Found, Undecided, holds
from gateway.core.money import dollars, nanos

FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
MISSING = object()


def json_of(answer: Answer) -> Any:
    """The answer as JSON, out of a fence where it stands in one; MISSING where it is none."""
    fenced = FENCE.match(answer.text)
    try:
        return json.loads(fenced[1] if fenced else answer.text)
    except (ValueError, RecursionError):
        return MISSING


def is_json(answer: Answer, assertion: Assertion) -> Found:
    return holds(json_of(answer) is not MISSING, "It is no JSON.")


def json_schema(answer: Answer, assertion: Assertion) -> Found:
    if not isinstance(assertion.value, dict):
        raise Undecided("json_schema needs a schema as its value")
    try:
        checker = jsonschema_rs.validator_for(assertion.value)
    except (ValueError, TypeError) as error:
        raise Undecided(f"this is no usable JSON Schema: {error}") from None
    value = json_of(answer)
    if value is MISSING:
        return holds(False, "It is no JSON.")
    wrong = [error.message for error in checker.iter_errors(value)]
    return holds(not wrong, "; ".join(wrong[:3])[:500])


def at_path(value: Any, path: str) -> Any:
    """What stands at `$.a.b[0].c`; MISSING where nothing does. Raises Undecided for what is no such path."""
    rest = path.removeprefix("$")
    if STEP.sub("", rest) not in ("", "."):
        raise Undecided(f"{path!r} is no path like $.items[0].name")
    for name, index in STEP.findall(rest):
        if index and isinstance(value, list):
            value = value[int(index)] if int(index) < len(value) else MISSING
        elif name and isinstance(value, dict):
            value = value.get(name, MISSING)
        else:
            return MISSING
    return value


def json_path(answer: Answer, assertion: Assertion) -> Found:
    """`{"path": "$.a[0].b", "equals": …}`, or the path alone: then something must stand there."""
    told = {"path": assertion.value} if isinstance(assertion.value, str) else assertion.value
    if not isinstance(told, dict) or not isinstance(told.get("path"), str):
        raise Undecided('json_path needs {"path": "$.name", "equals": value}')
    found = at_path(json_of(answer), told["path"])
    if found is MISSING:
        return holds(False, f"Nothing stands at {told['path']}.")
    return holds("equals" not in told or found == told["equals"], f"{told['path']} is {json.dumps(found)[:200]}.")


def number_close(answer: Answer, assertion: Assertion) -> Found:
    """The last number in the answer is within `threshold` (0.000001 where left out) of the value."""
    wanted = float(assertion.text(answer)) if assertion.value is None else assertion.number()
    found = NUMBER.findall(answer.text)
    if not found:
        return holds(False, "It holds no number.")
    said, margin = float(found[-1].replace(",", "")), 1e-6 if assertion.threshold is None else assertion.threshold
    return holds(abs(said - wanted) <= margin, f"It says {said:g}.")


def tool_call(answer: Answer, assertion: Assertion) -> Found:
    """The tool's name, or {"name": …, "arguments": {…}} whose arguments are among those of one call."""
    wanted = {"name": assertion.value} if isinstance(assertion.value, str) else assertion.value
    if not isinstance(wanted, dict) or not isinstance(wanted.get("name"), str):
        raise Undecided('tool_call needs a tool\'s name, or {"name": …, "arguments": {…}}')
    called = []
    for each in answer.tool_calls:
        function = each.get("function") or {}
        called.append(str(function.get("name")))
        if function.get("name") != wanted["name"]:
            continue
        try:
            given = json.loads(function.get("arguments") or "{}")
        except ValueError:
            continue
        asked = wanted.get("arguments") or {}
        if isinstance(given, dict) and all(given.get(name, MISSING) == value for name, value in asked.items()):
            return holds(True)
    return holds(False, f"It calls {', '.join(called) or 'no tool'}.")


def max_latency_ms(answer: Answer, assertion: Assertion) -> Found:
    return holds(answer.ms <= assertion.number(), f"It took {answer.ms:.0f} ms.")


def max_cost_usd(answer: Answer, assertion: Assertion) -> Found:
    try:
        most = nanos(str(assertion.value))
    except ValueError as error:
        raise Undecided(str(error)) from None
    return holds(answer.cost_nanos <= most, f"It cost {dollars(answer.cost_nanos)} USD.")


KINDS: Mapping[str, Callable[[Answer, Assertion], Found]] = {
    "is_json": is_json,
    "json_schema": json_schema,
    "json_path": json_path,
    "number_close": number_close,
    "tool_call": tool_call,
    "max_latency_ms": max_latency_ms,
    "max_cost_usd": max_cost_usd,
}
