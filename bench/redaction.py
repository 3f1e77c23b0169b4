"""`python -m bench.redaction`: what looking for personal data costs, and what the nastiest texts cost.

CPU for 1 KB of ordinary text, before the prefilter (every detector asked) and with it; for 100 KB of one repeated text, the
worst first, through every detector, three custom patterns and deny-lists; and how long the event loop was held meanwhile
when such a text came in a call, whole in an answer, or in a stream that came all at once, with every guardrail on. Holds
are counted in the process's own CPU, the shortest of three: other programs on the machine only make them longer.
"""

import asyncio
import random
import string
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

from evals.guardrails.build import guard
from evals.snapshot import EvalsSnapshot
from evals.stage import conclude, screen
from gateway.core.call import Call, Caller, Delta
from gateway.edge.endpoints import FORMS
from gateway.redaction.finder import KINDS, Finder, Rules
from gateway.redaction.stage import mask
from gateway.seeing import seen
from gateway.snapshot import RedactionView, RoutesSnapshot

PROSE = (
    "The committee considers the proposal and returns a summary of the meeting with several open points. Please list "
    "them in order of importance, then draft a polite reply that asks for two more days. "
) * 4
FULL = "Thabo Mokoena, thabo@example.co.za, 082 123 4567, ID 8001015009087, card 4111 1111 1111 1111. "
PATTERNS = (("claim", "CLM-[0-9]{6}"), ("nested", "(a+)+$x"), ("long", "[a-z]{1,60}[0-9]!"))
RULES = Rules(KINDS, PATTERNS, ("halberd",), ("Zog",))
SIZE = 100_000
PIECE = 2_000  # characters of a stream's piece
GUARDS = EvalsSnapshot(
    {
        "1": tuple(
            guard(kind, "flag", None, words, {"on": ["input", "output"]})
            for kind, words in (
                ("prompt_injection", []),
                ("secrets", []),
                ("invisible_text", []),
                ("blocked_words", ["halberd", "zog"]),
                ("topics", ["halberd", "zog"]),
            )
        )
    }
)
REPEATED = (
    *string.ascii_letters,
    *string.digits,
    *"@.-+( :/<é中¼",
    *("a\u0301", "12 ", "45 ", "1.1 ", "12-", "0/0/", "082 123 4567 ", "8001015009087 ", "4111 1111 1111 1111 "),
    *("-----BEGIN PRIVATE KEY-----", "12345678:AA", "a@b.", "sk-a1", "password: ", "eyJa.", "Thabo ", "my name is "),
    *("DE89 3704 ", "AB123456C ", "1.2.3.4 ", "fe80::", "A. ", "van der ", "a (at) b (dot) "),
)


def cpu(work: Callable[[], object], times: int = 1) -> float:
    """CPU seconds of one run."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def every_detector(finder: Finder, text: str) -> None:
    """What it cost without the prefilter: as though the text held a mark of everything."""
    list(finder._raw(text, "", frozenset(finder._marked)))


def digits() -> str:
    rng = random.Random(7)
    return "".join(rng.choice("0123456789 -./") for _ in range(SIZE))


def asked(text: str, *, stream: bool = False) -> tuple[Call, RoutesSnapshot]:
    view = RedactionView(KINDS, "restore", patterns=PATTERNS, words=RULES.words, names=RULES.names)
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    call = Call("1", FORMS["/v1/chat/completions"], body, stream=stream, caller=Caller("1", "w", "1", "k"))
    return call, RoutesSnapshot({}, {}, redaction={"1": view})


async def coming_in(text: str) -> None:
    call, routes = asked(text)
    await screen(call, GUARDS)
    await mask(call, routes)


async def going_out(text: str, *, stream: bool) -> None:
    call, routes = asked("mail jo@example.org", stream=stream)
    await screen(call, GUARDS)
    await mask(call, routes)
    size, part = (PIECE, "delta") if stream else (len(text), "message")
    for start in range(0, len(text), size):
        piece = text[start : start + size]
        await seen(call, Delta(data={"choices": [{"index": 0, part: {"content": piece}}]}, text=piece))
    await conclude(call)


async def held(work: Callable[[], Awaitable[None]]) -> float:
    """The longest time, in seconds of this process's CPU, that nothing else could run meanwhile."""
    longest, going = 0.0, asyncio.ensure_future(work())
    while not going.done():
        before = time.process_time()
        await asyncio.sleep(0)
        longest = max(longest, time.process_time() - before)
    await going
    return longest


def least_held(work: Callable[[], Awaitable[None]]) -> float:
    """The same in milliseconds, the shortest of three runs."""
    return min(asyncio.run(held(work)) for _ in range(3)) * 1e3


def main() -> None:
    sys.setswitchinterval(0.0002)  # as the server does
    finder = Finder(RULES)
    finder.find(FULL)
    print("CPU for 1 KB, µs")
    for name, text in (("prose", PROSE[:1024]), ("prose with one person's data", (FULL + PROSE)[:1024])):
        every = cpu(lambda text=text: every_detector(finder, text), 300)
        asked = cpu(lambda text=text: finder.find(text), 300)
        print(f"  {name:<30} every detector {every * 1e6:6.0f}   with the prefilter {asked * 1e6:6.0f}")
    texts = {repr(unit): (unit * (SIZE // len(unit) + 1))[:SIZE] for unit in REPEATED} | {"random digits": digits()}
    rows = sorted(((cpu(lambda text=text: finder.find(text)), name) for name, text in texts.items()), reverse=True)
    print(f"  {'':<34}  CPU ms   longest hold of the loop, ms: call, whole answer, stream")
    for seconds, name in rows[:15]:
        ways = (
            partial(coming_in, texts[name]),
            partial(going_out, texts[name], stream=False),
            partial(going_out, texts[name], stream=True),
        )
        print(f"  {name:<34}{seconds * 1e3:8.1f}" + "".join(f"{least_held(way):10.1f}" for way in ways))
    single = max(seconds for seconds, name in rows if len(texts[name][:SIZE].strip(texts[name][0])) == 0)
    print(f"  the worst single character {single * 1e3:.1f}; a call that is just not long: ", end="")
    print(f"{max(least_held(partial(coming_in, text[:2_500])) for text in texts.values()):.1f} ms")


if __name__ == "__main__":
    main()
