"""`python -m bench.flame RAW SVG`: draw where the time of a serving process goes, from what py-spy saw of it.

    py-spy record --gil --threads --format raw --rate 400 --duration 20 --pid PID --output RAW

With `--gil` only whoever runs Python is seen, so the widths are shares of the interpreter, which is what calls wait for.
Prints how much of it each of our files takes, with what it calls in libraries.
"""

import argparse
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

OURS = ("gateway/", "audit/", "budgets/", "tenants/", "prompts/", "evals/")
OUTER = ("manage.py", "threading.py", "asyncio/", "django/core/management", "gateway/management", "gateway/server.py")
WIDTH, ROW, LEAST = 1400, 17, 0.002
LINE = re.compile(r":\d+\)$")


@dataclass(slots=True)
class Frame:
    """A function and what it called, in samples."""

    samples: int = 0
    calls: dict[str, "Frame"] = field(default_factory=dict)


def read(file: Path) -> list[tuple[list[str], int]]:
    """Each stack, outermost function first, with how often it was seen. The line within a function is left out."""
    stacks = []
    for line in file.read_text().splitlines():
        frames, _, seen = line.rpartition(" ")
        thread, *functions = (LINE.sub(")", frame) for frame in frames.split(";"))
        thread = re.sub(r"^thread \(\d+\): ", "", thread)
        inner = [each for each in functions if not each.partition("(")[2].startswith(OUTER)]
        if inner:
            stacks.append(([thread, *inner], int(seen)))
    return stacks


def tree_of(stacks: list[tuple[list[str], int]]) -> Frame:
    root = Frame()
    for frames, seen in stacks:
        root.samples += seen
        at = root
        for name in frames:
            at = at.calls.setdefault(name, Frame())
            at.samples += seen
    return root


def colour(name: str) -> str:
    """Ours, Django's, and everybody else's."""
    place = name.partition("(")[2]
    if place.startswith(OURS):
        return "#a5b4fc"
    return "#5eead4" if place.startswith("django") else "#e2e8f0"


def draw(root: Frame) -> str:
    """The flame graph as SVG: a row for each depth, widths in samples; what is narrower than a fifth of a per cent goes."""
    parts: list[str] = []
    deepest = 0

    def put(name: str, frame: Frame, left: float, depth: int) -> None:
        nonlocal deepest
        share = frame.samples / root.samples
        if share < LEAST:
            return
        deepest, width = max(deepest, depth), share * WIDTH
        label = escape(name) if width > 6.6 * len(name) else escape(name[: max(0, int(width / 6.6) - 1)])
        parts.append(
            f'<g><title>{escape(name)}: {share:.1%}</title><rect x="{left:.1f}" y="{40 + depth * ROW}" '
            f'width="{width:.1f}" height="{ROW - 1}" fill="{colour(name)}"/>'
            f'<text x="{left + 3:.1f}" y="{52 + depth * ROW}">{label}</text></g>'
        )
        for called, inner in sorted(frame.calls.items()):
            put(called, inner, left, depth + 1)
            left += inner.samples / root.samples * WIDTH

    left = 0.0
    for name, frame in sorted(root.calls.items(), key=lambda each: -each[1].samples):
        put(name, frame, left, 0)
        left += frame.samples / root.samples * WIDTH
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{60 + (deepest + 1) * ROW}"'
        ' font-family="monospace" font-size="11">\n<rect width="100%" height="100%" fill="#fff"/>\n'
        '<text x="4" y="20" font-size="14">Who runs Python in a busy process, by thread; the called stand below their '
        "callers. Blue: ours; green: Django; grey: libraries</text>\n"
    )
    return "\n".join([head, *parts, "</svg>\n"])


def shares(stacks: list[tuple[list[str], int]]) -> Counter[str]:
    """Samples by thread and the innermost of our files, which answers for what it calls elsewhere."""
    found: Counter[str] = Counter()
    for (thread, *frames), seen in stacks:
        places = [frame.partition("(")[2].rstrip(")") for frame in frames]
        found[f"{thread}: {next((place for place in reversed(places) if place.startswith(OURS)), 'the server')}"] += (
            seen
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path)
    parser.add_argument("svg", type=Path)
    options = parser.parse_args()
    stacks = read(options.raw)
    options.svg.write_text(draw(tree_of(stacks)))
    total = sum(seen for _, seen in stacks)
    for name, seen in shares(stacks).most_common(30):
        print(f"{seen / total:7.1%}  {name}")


if __name__ == "__main__":
    main()
