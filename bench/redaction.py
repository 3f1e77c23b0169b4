"""`python -m bench.redaction`: what looking for personal data costs, and what the nastiest texts cost.

Three tables: CPU for 1 KB of ordinary text, before the prefilter (every detector asked) and with it; 100 KB of one
repeated text, the worst first, through every detector and three custom patterns; and how long the event loop was held
meanwhile when such a text came in a call.
"""

import asyncio
import random
import string
import sys
import time
from collections.abc import Callable

from gateway.core.call import Call, Caller
from gateway.edge.endpoints import FORMS
from gateway.redaction.finder import KINDS, Finder, Rules
from gateway.redaction.stage import mask
from gateway.snapshot import RedactionView, RoutesSnapshot

PROSE = (
    "The committee considers the proposal and returns a summary of the meeting with several open points. Please list "
    "them in order of importance, then draft a polite reply that asks for two more days. "
) * 4
FULL = "Thabo Mokoena, thabo@example.co.za, 082 123 4567, ID 8001015009087, card 4111 1111 1111 1111. "
PATTERNS = (("claim", "CLM-[0-9]{6}"), ("nested", "(a+)+$x"), ("long", "[a-z]{1,60}[0-9]!"))
RULES = Rules(KINDS, PATTERNS, ("halberd",), ("Zog",))
SIZE = 100_000
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


async def held(text: str) -> float:
    """The longest time, in seconds, that nothing else could run while a call with this text was masked."""
    routes = RoutesSnapshot({}, {}, redaction={"1": RedactionView(KINDS, "restore", patterns=PATTERNS)})
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    call = Call("1", FORMS["/v1/chat/completions"], body, caller=Caller("1", "w", "1", "k"))
    longest, masking = 0.0, asyncio.ensure_future(mask(call, routes))
    while not masking.done():
        before = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - before)
    await masking
    return longest


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
    print("CPU for 100 KB, ms, and the longest that the event loop was held")
    for seconds, name in rows[:15]:
        print(f"  {name:<34} {seconds * 1e3:7.1f}  {asyncio.run(held(texts[name])) * 1e3:7.1f}")
    single = max(seconds for seconds, name in rows if len(texts[name][:SIZE].strip(texts[name][0])) == 0)
    print(f"  the worst single character {single * 1e3:.1f}; the loop at most 8,000 characters: ", end="")
    short = max(asyncio.run(held(text[:7_900])) for text in texts.values())
    print(f"{short * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
