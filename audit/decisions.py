"""Why a call went where it went, read from its record."""

from typing import Any

from audit.models import CallRecord
from audit.queries import attempt_as_contract

SENTENCES = {
    "answered": "answered",
    "failed": "was asked and failed",
    "left out": "was left out",
    "candidate": "was not needed",
    "shadow": "gets a copy",
    "outrun": "was asked and overtaken",
    "broke off": "began to answer and broke off",
    "continued": "took over",
}


def decision_of(record: CallRecord) -> dict[str, Any]:
    """The targets in the order in which they were considered, the attempts with cost and time, and both in words."""
    details = record.details
    attempts = [attempt_as_contract(attempt) for attempt in details.get("attempts", [])]
    targets = [settled(line, attempts) for line in details.get("decision", [])]
    return {
        "call_id": record.id,
        "asked": record.asked or None,
        "route": record.route or None,
        "outcome": record.outcome,
        "code": record.code or None,
        "model": record.model or None,
        "provider": record.provider or None,
        "targets": targets,
        "attempts": attempts,
        "words": [sentence(line) for line in targets]
        + [attempted(number, each) for number, each in numbered(attempts)],
    }


def settled(line: dict[str, Any], attempts: list[dict[str, Any]]) -> dict[str, Any]:
    """A target's line with what became of it. A plain call's line says "candidate": its attempt says the rest."""
    if line.get("state") != "candidate":
        return line
    own = [each["outcome"] for each in attempts if each["model"] == line["model"]]
    return {**line, "state": "answered" if "answered" in own else "failed"} if own else line


def sentence(line: dict[str, Any]) -> str:
    why = f": {line['why']}" if line.get("why") else ""
    said = SENTENCES.get(line["state"], line["state"])
    where = f"{line['model']} at {line['provider']}" if line.get("provider") else line["model"]
    return f"{where} {said}{'' if line['state'] == 'answered' else why}."


def attempted(number: int, attempt: dict[str, Any]) -> str:
    status = f" with status {attempt['status']}" if attempt["status"] else ""
    return (
        f"Attempt {number}, {attempt['model']}: {attempt['outcome']}{status} after {attempt['ms']:.0f} ms, "
        f"for {attempt['cost_usd']} US dollars."
    )


def numbered(attempts: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    return list(enumerate(attempts, start=1))
