"""Requests to providers as OpenTelemetry's GenAI conventions count them: how long they took, how many tokens they used.

Kept only where a collector is told of them. A call costs a few dictionary additions; names are looked up when the
figures are sent.
"""

from gateway.core.call import Call
from gateway.telemetry.conventions import OPERATIONS, error_of
from gateway.telemetry.metrics import Series, put_in

DURATION, FIRST_CHUNK, TOKENS = OPERATIONS
_SECONDS, _FIRST_SECONDS, _TOKENS = (bounds for _, _, bounds in OPERATIONS.values())


class Operations:
    """What this worker asked providers. Labels are (form, kind, base URL, upstream model, error or type of token)."""

    def __init__(self) -> None:
        self.histograms: Series = {name: {} for name in OPERATIONS}

    def note(self, call: Call) -> None:
        """Count the attempts of a call that has ended."""
        form = call.form.name
        for attempt in call.attempts:
            target, usage = attempt.target, attempt.usage
            of = (form, target.kind, target.base_url, target.upstream)
            ended = attempt.ended if attempt.ended is not None else call.elapsed
            put_in(self.histograms[DURATION], _SECONDS, (*of, error_of(attempt)), ended - attempt.started)
            if call.stream and attempt.first_byte is not None:
                first = attempt.first_byte - attempt.started
                put_in(self.histograms[FIRST_CHUNK], _FIRST_SECONDS, (*of, ""), first)
            if usage.input:
                put_in(self.histograms[TOKENS], _TOKENS, (*of, "input"), usage.input)
            if usage.output:
                put_in(self.histograms[TOKENS], _TOKENS, (*of, "output"), usage.output)
