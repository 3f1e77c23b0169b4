"""The named configurations of a run, as a configuration file, and what is asked of each."""

from dataclasses import dataclass, field
from pathlib import Path
from string import Template

KEY = "sk-bench-key-0000000001"  # four limits and five budgets
KEY_LIMITED = "sk-bench-key-0000000002"  # one call a day
KEY_BARE = "sk-bench-key-0000000003"  # nothing but a record
KEY_FULL = "sk-bench-key-0000000004"  # limits, budgets, redaction, a prompt
SECRETS = {
    "BENCH_SECRET": "sk-provider",
    "BENCH_KEY": KEY,
    "BENCH_KEY_LIMITED": KEY_LIMITED,
    "BENCH_KEY_BARE": KEY_BARE,
    "BENCH_KEY_FULL": KEY_FULL,
}
FRAME = {"prompt": "frame", "inputs": {"company": "Acme", "language": "plain English"}}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row of the table. `first` and `then` are the targets of the design, in µs of CPU per call.

    unique  each call asks something else, so that none is answered from the cache
    shared  the two targets with PostgreSQL and Redis, where they are others
    """

    name: str
    model: str
    key: str = KEY
    unique: bool = True
    fields: dict[str, object] = field(default_factory=dict)
    first: float | None = None
    then: float | None = None
    shared: tuple[float, float] | None = None
    status: int = 200


CALLS = (
    Scenario("bare: key and record", "bare", key=KEY_BARE),
    Scenario("4 limits, 5 budgets, cache miss", "everything", first=150, then=80, shared=(220, 120)),
    Scenario("... and redaction, a prompt", "everything", key=KEY_FULL, fields=FRAME),
    Scenario("exact cache hit", "cached", unique=False, first=80, then=50),
    Scenario("semantic cache hit", "alike", first=3000, then=1500),
    Scenario("refused: unknown key", "bare", key="sk-bench-unknown-key", first=100, then=50, status=401),
    Scenario("refused: over the limit", "bare", key=KEY_LIMITED, first=100, then=50, status=429),
)
STREAMS = (
    Scenario("stream of 50 chunks, passed", "streamed", first=1500, then=1000),
    Scenario("stream of 50 chunks, from Anthropic", "translated", first=4000, then=2500),
    Scenario("stream of 50 chunks, redaction", "streamed", key=KEY_FULL, first=4000, then=2500),
)


def configuration(*, mock: int, stream: int) -> str:
    """The configuration file for every scenario."""
    return Template((Path(__file__).parent / "bench.yaml").read_text()).substitute(mock=mock, stream=stream)
