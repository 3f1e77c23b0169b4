"""How many questions that mean the same a semantic cache would answer, and how many others it would answer wrongly.

`python -m tests.paraphrase_set.report DIRECTORY` measures the model in that directory and writes the table into
docs/caching.md. The test suite measures a scripted model in the same way, through the cache's own index.
"""

import asyncio
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gateway.caching.embedding import Vector, unit
from gateway.caching.local import load
from gateway.caching.marks import fixed, sides
from gateway.caching.semantic import Place, SemanticIndex

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "caching.md"
BEGIN, END = "<!-- paraphrases: begin -->\n", "<!-- paraphrases: end -->\n"
DOMAINS = ("support", "banking", "travel", "health", "software")
THRESHOLDS = (0.75, 0.85, 0.92)
WIDTH = 512

Model = Callable[[str], Vector]


class Pair(NamedTuple):
    one: str
    other: str
    is_same: bool


def pairs(domain: str) -> list[Pair]:
    lines = (HERE / f"{domain}.txt").read_text("utf-8").splitlines()
    found = []
    for line in lines:
        if line and not line.startswith("#"):
            one, other = line[2:].split(" | ")
            found.append(Pair(one, other, {"=": True, "!": False}[line[0]]))
    return found


async def likeness(model: Model, pair: Pair) -> float:
    """How alike the cache's index finds the second question to the first; 0 where it does not compare them."""
    if fixed(pair.one) != fixed(pair.other):
        return 0.0
    index = SemanticIndex()
    index.add(Place("w", b"partition", model(pair.one), sides(pair.one)), b"first", inf)
    found = await index.nearest(Place("w", b"partition", model(pair.other), sides(pair.other)))
    return 0.0 if found is None else found[1]


def plain(model: Model, pair: Pair) -> float:
    """The cosine alone, as it would be without looking at numbers, denials and opposites."""
    return float(model(pair.one) @ model(pair.other))


def measured(model: Model) -> dict[str, list[tuple[float, bool]]]:
    """(How alike, whether the same) of every pair, by domain."""
    return {
        domain: [(asyncio.run(likeness(model, pair)), pair.is_same) for pair in pairs(domain)] for domain in DOMAINS
    }


def rates(judged: list[tuple[float, bool]], threshold: float) -> tuple[float, float]:
    """The share of the same that hit, and the share of the others that hit wrongly."""
    same = [at >= threshold for at, is_same in judged if is_same]
    others = [at >= threshold for at, is_same in judged if not is_same]
    return sum(same) / len(same), sum(others) / len(others)


def table(model: Model) -> str:
    found = measured(model)
    found["all"] = [pair for domain in DOMAINS for pair in found[domain]]
    found["all, by the cosine alone"] = [
        (plain(model, pair), pair.is_same) for domain in DOMAINS for pair in pairs(domain)
    ]
    rows = ["| domain | " + " | ".join(f"hits at {at:.2f} | wrong at {at:.2f}" for at in THRESHOLDS) + " |"]
    rows.append("|" + "---|" * (1 + 2 * len(THRESHOLDS)))
    for domain, judged in found.items():
        cells = [f"{share:.0%}" for at in THRESHOLDS for share in rates(judged, at)]
        rows.append(f"| {domain} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def scripted(text: str) -> Vector:
    """A model for tests: the text's words and pairs of letters, each at a place of its own. It knows no meaning."""
    vector = np.zeros(WIDTH, dtype=np.float32)
    for word in "".join(c if c.isalnum() else " " for c in text.lower()).split():
        for piece in (word, *(word[at : at + 2] for at in range(len(word) - 1))):
            place = sum((ord(c) + 1) * 31**at for at, c in enumerate(piece)) % WIDTH
            vector[place] += 1.0 if piece == word else 0.5
    return unit(vector)


def write(directory: str) -> None:
    model = load(directory)
    text = DOCUMENT.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + table(model.vector) + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    write(sys.argv[1])
