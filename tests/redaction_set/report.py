"""How much of a labelled set redaction finds, and how much of what it finds is right.

`python -m tests.redaction_set.report` writes the table into docs/redaction.md; the test suite fails when it no longer
holds, so that a change for the worse has to be written down to pass.
"""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from gateway.redaction.finder import KINDS, Finder, Rules

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "redaction.md"
BEGIN, END = "<!-- report: begin -->\n", "<!-- report: end -->\n"
SETS = ("south_african", "british", "american", "german", "hard_negatives")
_MARK = re.compile(r"\[(\w+)\|([^\]]*)\]")


class Sentence(NamedTuple):
    text: str
    labels: tuple[tuple[int, int, str], ...]


def sentences(name: str) -> list[Sentence]:
    lines = (HERE / f"{name}.txt").read_text("utf-8").splitlines()
    return [labelled(line.replace("\\n", "\n")) for line in lines if line and not line.startswith("#")]


def labelled(line: str) -> Sentence:
    """A line of the set as its text and where its labels stand."""
    text, labels, done = "", [], 0
    for mark in _MARK.finditer(line):
        text += line[done : mark.start()]
        labels.append((len(text), len(text) + len(mark[2]), mark[1]))
        text += mark[2]
        done = mark.end()
    return Sentence(text + line[done:], tuple(labels))


class Counts(NamedTuple):
    labels: Counter[tuple[str, str]]
    found: Counter[tuple[str, str]]  # labels that are masked whole, under their own kind or another
    findings: Counter[tuple[str, str]]
    right: Counter[tuple[str, str]]  # findings that touch a label of their kind
    missed: list[str]
    wrong: list[str]


def counted() -> Counts:
    finder = Finder(Rules(KINDS))
    counts = Counts(Counter(), Counter(), Counter(), Counter(), [], [])
    for name in SETS:
        for text, labels in sentences(name):
            spans = finder.find(text)
            for start, end, kind in labels:
                counts.labels[name, kind] += 1
                if any(span.start <= start and end <= span.end for span in spans):
                    counts.found[name, kind] += 1
                else:
                    counts.missed.append(f"{kind} {text[start:end]!r} in {text!r}")
            for span in spans:
                counts.findings[name, span.kind] += 1
                if any(span.start < end and start < span.end and kind == span.kind for start, end, kind in labels):
                    counts.right[name, span.kind] += 1
                else:
                    counts.wrong.append(f"{span.kind} {text[span.start : span.end]!r} in {text!r}")
    return counts


def table() -> str:
    counts = counted()
    kinds = sorted({kind for _, kind in counts.labels})
    regions = SETS[:-1]
    rows = ["| kind | labels | recall | precision | " + " | ".join(name.replace("_", " ") for name in regions) + " |"]
    rows.append("|" + "---|" * (4 + len(regions)))
    for kind in kinds:
        total = sum(counts.labels[name, kind] for name in SETS)
        found = sum(counts.found[name, kind] for name in SETS)
        findings = sum(counts.findings[name, kind] for name in SETS)
        right = sum(counts.right[name, kind] for name in SETS)
        each = [f"{counts.found[name, kind]}/{counts.labels[name, kind]}" for name in regions]
        rows.append(
            f"| {kind} | {total} | {found / total:.3f} | {right / max(1, findings):.3f} | " + " | ".join(each) + " |"
        )
    negatives = sentences("hard_negatives")
    finder = Finder(Rules(KINDS))
    clean = sum(not finder.find(sentence.text) for sentence in negatives)
    every = sum(len(sentences(name)) for name in SETS)
    rows.append(f"\n{every} sentences; of the {len(negatives)} hard negatives {clean} are left as they are.")
    return "\n".join(rows) + "\n"


def written() -> str:
    """The table as it stands in the document."""
    return DOCUMENT.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


def write() -> None:
    text = DOCUMENT.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + table() + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    write()
