"""The upstream's own token meter: what it would bill, counted where the tokens are made. The referee for money."""

import threading
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Reading:
    """One request as the provider saw it. `output` counts the tokens that were made, read by the client or not."""

    number: int
    path: str
    key: str
    model: str
    stream: bool
    body: dict[str, Any] = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    input: int = 0
    output: int = 0
    status: int = 0
    finished: bool = False  # the whole answer was written
    hung_up: bool = False  # the client left before
    at: float = 0.0

    def cost_nanos(self, input_nanos: int, output_nanos: int) -> int:
        """What it costs at nano-dollars per million tokens, rounded up by part."""
        return -(-self.input * input_nanos // 1_000_000) - (-self.output * output_nanos // 1_000_000)


class Meter:
    """Every request in the order of arrival."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self._lock = threading.Lock()

    def begin(self, **seen: Any) -> Reading:
        with self._lock:
            reading = Reading(number=len(self.readings), **seen)
            self.readings.append(reading)
        return reading

    def clear(self) -> None:
        with self._lock:
            self.readings.clear()

    @property
    def requests(self) -> int:
        return len(self.readings)

    @property
    def input(self) -> int:
        return sum(reading.input for reading in self.readings)

    @property
    def output(self) -> int:
        return sum(reading.output for reading in self.readings)

    def cost_nanos(self, input_nanos: int, output_nanos: int) -> int:
        """The bill at one price for all."""
        return sum(reading.cost_nanos(input_nanos, output_nanos) for reading in self.readings)

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(reading) for reading in self.readings]
