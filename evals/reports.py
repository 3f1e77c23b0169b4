"""A scoring as others read it: JSON for machines, JUnit for CI, text for people. All say the same verdict, by its id."""

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from evals.gate import EXITS
from evals.models import Output, Run, Score, Scoring
from gateway.core.money import dollars

SCHEMA = 1
UNFIT = dict.fromkeys([*range(0x00, 0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0xFFFE, 0xFFFF])  # XML has no place for them


def told(scoring: Scoring) -> dict[str, Any]:
    """The whole of a scoring, ready for JSON."""
    run = scoring.run
    return {
        "schema": SCHEMA,
        "scoring": scoring.pk,
        "run": run.pk,
        "workspace": run.workspace.name,
        "suite": run.suite,
        "suite_digest": run.digest,
        "prompt": str(run.version) if run.version is not None else None,
        "prompt_digest": run.version.digest if run.version is not None else None,
        "route": run.route or (run.version.route if run.version is not None else ""),
        "repeat": run.repeat,
        "baseline": scoring.baseline.run_id if scoring.baseline is not None else None,
        "verdict": scoring.verdict,
        "exit_code": EXITS[scoring.verdict],
        "reasons": scoring.reasons,
        "figures": figures_told(scoring.figures),
        "outputs": [output_told(output, scores) for output, scores in scored(scoring)],
    }


def figures_told(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures with money as decimal strings."""
    return {
        name.replace("_nanos", "_usd"): dollars(value) if name.endswith("_nanos") else value
        for name, value in figures.items()
    }


def scored(scoring: Scoring) -> Iterator[tuple[Output, list[Score]]]:
    """Each output of the run with this scoring's scores, in the order in which they were asked."""
    by_output: dict[int, list[Score]] = {}
    for score in scoring.scores.order_by("number"):
        by_output.setdefault(score.output_id, []).append(score)
    order = {case["name"]: at for at, case in enumerate(scoring.run.cases)}
    outputs = sorted(scoring.run.outputs.all(), key=lambda each: (order.get(each.case, len(order)), each.repeat))
    for output in outputs:
        yield output, by_output.get(output.pk, [])


def output_told(output: Output, scores: list[Score]) -> dict[str, Any]:
    return {
        "case": output.case,
        "repeat": output.repeat,
        "call_id": output.call_id,
        "text": output.text,
        "tool_calls": output.tool_calls,
        "finish": output.finish,
        "model": output.model,
        "provider": output.provider,
        "input_tokens": output.input_tokens,
        "output_tokens": output.output_tokens,
        "cost_usd": dollars(output.cost_nanos),
        "ms": output.ms,
        "code": output.code,
        "error": output.error,
        "scores": [
            {"kind": each.kind, "verdict": each.verdict, "score": each.score, "reason": each.reason} for each in scores
        ],
    }


def junit(scoring: Scoring) -> str:
    """JUnit's XML: a case for each output, and one for the gate itself, so that a failed gate is never all green."""
    run = scoring.run
    cases: list[tuple[str, float, str, str]] = []
    for output, scores in scored(scoring):
        name = output.case if run.repeat == 1 else f"{output.case} #{output.repeat}"
        wrong = [f"{each.kind} {each.verdict}: {each.reason}".strip(": ") for each in scores if each.verdict != "pass"]
        tag = "error" if output.code or any(each.verdict == "error" for each in scores) else "failure" if wrong else ""
        cases.append((name, output.ms / 1000, tag, output.error or "\n".join(wrong)))
    gate = "" if scoring.verdict == "passed" else "failure" if scoring.verdict == "failed" else "error"
    cases.append(("gate", 0.0, gate, "\n".join([scoring.get_verdict_display(), *scoring.reasons])))
    suite = ElementTree.Element(
        "testsuite",
        name=fit(run.suite),
        tests=str(len(cases)),
        failures=str(sum(tag == "failure" for _, _, tag, _ in cases)),
        errors=str(sum(tag == "error" for _, _, tag, _ in cases)),
        time=f"{sum(seconds for _, seconds, _, _ in cases):.3f}",
    )
    for name, seconds, tag, said in cases:
        case = ElementTree.SubElement(
            suite, "testcase", name=fit(name), classname=fit(f"{run.workspace.name}.{run.suite}"), time=f"{seconds:.3f}"
        )
        if tag:
            ElementTree.SubElement(case, tag, message=fit(said.splitlines()[0] if said else tag)).text = fit(said)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def fit(text: str) -> str:
    return text.translate(UNFIT)


def lines(scoring: Scoring) -> Iterator[str]:
    """What a person reads on a terminal."""
    run, figures = scoring.run, scoring.figures
    yield f"{run.suite} of {run.about or 'nothing'}, run {run.pk}"
    for output, scores in scored(scoring):
        name = output.case if run.repeat == 1 else f"{output.case} #{output.repeat}"
        wrong = [each for each in scores if each.verdict != "pass"]
        mark = "!" if output.code else "✗" if wrong else "✓"
        yield f"  {mark} {name}  {output.ms:.0f} ms  ${dollars(output.cost_nanos)}"
        if output.code:
            yield f"      {output.error}"
        for each in wrong:
            yield f"      {each.kind} {'is undecided' if each.verdict == 'error' else 'fails'}: {each.reason}"
    low, high = figures.get("case_interval", (0.0, 1.0))
    yield (
        f"{figures.get('cases_passed', 0)} of {figures.get('cases', 0)} cases pass ({low:.0%} to {high:.0%} with 95 %), "
        f"{figures.get('pass_rate', 0.0):.1%} of the assertions, ${dollars(figures.get('cost_nanos', 0))}"
    )
    if (change := figures.get("difference")) is not None:
        yield difference_line(change, scoring.baseline)
    yield f"{scoring.get_verdict_display().upper()}"
    for reason in scoring.reasons:
        yield f"  {reason}"


def difference_line(change: dict[str, Any], baseline: Scoring | None) -> str:
    low, high = change["interval"]
    against: Run | None = baseline.run if baseline is not None else None
    name = f"{against.about} (run {against.pk})" if against is not None else "the other"
    return (
        f"{change['difference']:+.1%} against {name}, with 95 % from {low:+.1%} to {high:+.1%}; "
        f"{change['gained']} newly pass, {change['lost']} newly fail, of {change['cases']} cases in both"
    )
