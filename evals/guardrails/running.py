"""Running a workspace's guardrails on what goes in, and on an answer as it comes."""

from collections import Counter
from typing import Any

from evals.guardrails.build import ANSWER_FORMS, READABLE_FORMS, Guard
from evals.guardrails.checks import Check, JsonSchema, MaxSize, Seen
from gateway.core.aside import PIECE_CHARACTERS
from gateway.core.call import Call, Delta
from gateway.core.errors import Forbidden
from gateway.core.texts import pieces, spoken

Entry = dict[str, Any]
_OWN_WORDS = frozenset({"system", "developer", "assistant", "tools"})  # the app's and the model's, not a stranger's
_ONLY_STRANGERS = frozenset({"prompt_injection", "invisible_text", "topics"})
_HINTS = {
    "prompt_injection": "Rephrase what reads like instructions to the model, or ask an admin of your workspace.",
    "secrets": "Take keys, tokens and passwords out of the text.",
    "blocked_words": "Take the word out, or ask an admin of your workspace which words are blocked.",
    "invisible_text": "Take out invisible characters and marks of other roles.",
    "topics": "Ask about something else, or ask an admin of your workspace which topics are open.",
    "max_size": "Send or ask for less.",
    "json_schema": "Ask for JSON that fits the schema of your workspace's guardrail.",
}


def screen_input(call: Call, guards: tuple[Guard, ...]) -> None:
    """Look at everything that goes in. Raises Forbidden (guardrail_blocked), after every guardrail had its look."""
    form = call.form.name
    texts = list(spoken(call.body)) if form in READABLE_FORMS else []
    blocked: Guard | None = None
    for guard in guards:
        if not guard.looks_at("input", form):
            continue
        entry: Entry = {"kind": guard.kind, "on": "input"}
        call.guardrails.append(entry)
        if form not in READABLE_FORMS:
            entry["verdict"] = "not_applicable"
            continue
        try:
            seen = _seen_in(texts, guard)
        except Exception:
            entry["verdict"] = "error"
            blocked = blocked or (guard if guard.blocks_on_error else None)
            continue
        if _conclude(entry, guard, seen):
            blocked = blocked or guard
    if blocked is not None:
        raise refusal(blocked, "request")


def _seen_in(texts: list[tuple[str, str]], guard: Guard) -> Seen:
    if isinstance(guard.check, MaxSize):
        most = guard.check.most["input"]
        return Seen(1.0 if most is not None and sum(len(text) for _, text in texts) > most else 0.0)
    score, places, names = 0.0, 0, Counter[str]()
    for role, text in texts:
        if role in _OWN_WORDS and guard.kind in _ONLY_STRANGERS:
            continue
        sight = Sight(guard.check)
        sight.feed(text)
        score = max(score, sight.score)
        places += len(sight.found)
        names.update(sight.found.values())
    return Seen(score, tuple(range(places)), tuple(names.elements()))


class Sight:
    """One check on one text that comes in pieces, or is long: in windows that overlap, so that nothing hides in a seam."""

    __slots__ = ("check", "found", "read", "score", "tail")

    def __init__(self, check: Check) -> None:
        self.check = check
        self.tail = ""
        self.read = 0  # characters before the tail
        self.found: dict[int, str] = {}  # places, and what stands there
        self.score = 0.0

    def feed(self, piece: str) -> None:
        for start, end in pieces(piece, PIECE_CHARACTERS):
            self._look(self.tail + piece[start:end])

    def _look(self, window: str) -> None:
        seen = self.check.look(window)
        # What begins where a window goes on was seen in the one before, with what stands before it: no word of its own.
        names = seen.names or ("",) * len(seen.places)
        found = {self.read + at: name for at, name in zip(seen.places, names, strict=True) if at or not self.read}
        if found or not seen.places:
            self.score = max(self.score, seen.score)
        self.found.update(found)
        keep = max(0, len(window) - self.check.tail)
        self.read += keep
        self.tail = window[keep:]


def _conclude(entry: Entry, guard: Guard, seen: Seen) -> bool:
    """Write what was seen into the entry, never a value. Returns whether the call is to be refused for it."""
    if seen.places:
        entry["count"] = len(seen.places)
    if names := Counter(name for name in seen.names if name):
        entry["found"] = dict(sorted(names.items()))
    if guard.kind in ("prompt_injection", "topics") and seen.score:
        entry["score"] = round(seen.score, 3)
    found = seen.score > 0 and seen.score >= getattr(guard.check, "threshold", 1.0)
    entry["verdict"] = ("blocked" if guard.blocks else "flagged") if found else "passed"
    return found and guard.blocks


def refusal(guard: Guard, what: str) -> Forbidden:
    return Forbidden(
        f"The guardrail {guard.kind} of this workspace refused this {what}.",
        code="guardrail_blocked",
        hint=_HINTS[guard.kind],
    )


class Watch:
    """Looks at one answer as it comes, each text in windows that overlap, so that nothing hides in a seam."""

    def __init__(self, call: Call, guards: tuple[Guard, ...]) -> None:
        self.eyes = [Eye(call, guard) for guard in guards]
        self.times = len(guards)  # that each piece is looked at
        self.again = sum(getattr(guard.check, "tail", 0) for guard in guards)  # characters looked at with every piece
        self.keeps = any(isinstance(guard.check, JsonSchema) for guard in guards)
        self.kept = 0  # characters of the answer kept for its end
        self.looked = 0  # characters looked at since the event loop last had its turn

    def see(self, delta: Delta, shown: Delta) -> None:
        """Raises Forbidden (guardrail_blocked) at the piece that completes what is blocked, which is then not shown."""
        if delta.text or delta.hidden or shown.text:
            self.kept += len(shown.text) if self.keeps else 0
            for eye in self.eyes:
                eye.see(delta, shown)

    def end(self) -> None:
        """The answer is complete. Raises Forbidden where the whole of it is refused."""
        for eye in self.eyes:
            eye.end()


class Eye:
    """One guardrail on one answer."""

    def __init__(self, call: Call, guard: Guard) -> None:
        self.guard = guard
        self.entry: Entry = {"kind": guard.kind, "on": "output", "verdict": "partial"}
        call.guardrails.append(self.entry)
        # of what is shown, and of what is not
        self.sights: tuple[Sight, ...] = ()
        if not isinstance(guard.check, JsonSchema | MaxSize):
            self.sights = (Sight(guard.check), Sight(guard.check))
        self.score = 0.0
        self.length = 0
        self.parts: list[str] = []
        self.is_off = False

    def see(self, delta: Delta, shown: Delta) -> None:
        if self.is_off:
            return
        try:
            self._look((delta.text, delta.hidden), shown.text)
        except Exception:
            self._failed()
            return
        if _conclude(self.entry, self.guard, self.seen()):
            raise refusal(self.guard, "answer")
        if self.entry["verdict"] == "passed":
            self.entry["verdict"] = "partial"

    def _look(self, said: tuple[str, str], shown: str) -> None:
        check = self.guard.check
        if isinstance(check, JsonSchema):
            self.parts.append(shown)
            return
        if isinstance(check, MaxSize):
            self.length += sum(map(len, said))
            most = check.most["output"]
            self.score = 1.0 if most is not None and self.length > most else 0.0
            return
        for sight, piece in zip(self.sights, said, strict=True):
            if piece:
                sight.feed(piece)

    def seen(self) -> Seen:
        names = tuple(name for sight in self.sights for name in sight.found.values())
        return Seen(max([self.score, *(sight.score for sight in self.sights)]), tuple(range(len(names))), names)

    def _failed(self) -> None:
        self.is_off = True
        self.entry["verdict"] = "error"
        if self.guard.blocks_on_error:
            raise refusal(self.guard, "answer")

    def end(self) -> None:
        if self.is_off:
            return
        if isinstance(self.guard.check, JsonSchema):
            if not any(self.parts):  # a call of a tool, no answer yet
                self.entry["verdict"] = "not_applicable"
                return
            self.score = 0.0 if self.guard.check.fits("".join(self.parts)) else 1.0
        if _conclude(self.entry, self.guard, self.seen()):
            raise refusal(self.guard, "answer")


def watch_for(call: Call, guards: tuple[Guard, ...]) -> Watch | None:
    """What looks at this call's answer, or None where nothing does. An answer that is no text can't be looked at."""
    form = call.form.name
    looking = tuple(guard for guard in guards if guard.looks_at("output", form))
    if form not in ANSWER_FORMS:
        call.guardrails.extend({"kind": guard.kind, "on": "output", "verdict": "not_applicable"} for guard in looking)
        return None
    return Watch(call, looking) if looking else None
