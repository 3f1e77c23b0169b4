"""Going on with a stream that broke off: another target gets the call with what was said as the beginning of its answer.

Only where the route says `continue`, for chat completions with one choice that have said text and nothing else yet, and
only to targets that go on with an answer that was begun for them (providers/prefill.py). The first piece of the rest
says who goes on and from where, so nothing looks like one model's answer that is not. Each part is an attempt of its
own: held, charged and recorded by itself.
"""

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from gateway.core import sse
from gateway.core.call import Attempt, Call, Delta, Usage
from gateway.core.errors import Refused, UpstreamError
from gateway.providers.prefill import begun, prefill_of
from gateway.routing.plan import Step
from gateway.routing.search import Search

if TYPE_CHECKING:
    from gateway.routing.stage import opened

MOST_TIMES = 2
CHARACTERS_PER_TOKEN = 4  # about: what was said is taken off a limit that the caller set
LIMITS = ("max_completion_tokens", "max_tokens")
NEEDS_ONE_MODEL = ("response_format", "logprobs", "modalities", "audio")  # what two halves don't make a whole of


def continuing(call: Call) -> "Continuing | None":
    """What listens to the call's stream so that another target could go on with it; None where none may."""
    plan, body = call.plan, call.body
    if plan is None or not plan.plan.view.continues or not call.stream or call.form.name != "chat":
        return None
    if body.get("n") not in (None, 1) or any(body.get(name) for name in NEEDS_ONE_MODEL):
        return None
    return Continuing(call)


class Continuing:
    """What one stream has said so far, and the rest of it from somebody else."""

    __slots__ = ("_begins", "_blank", "_call", "_first", "_is_text", "_mark", "_pieces", "_times")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._pieces: list[str] = []
        self._first: Delta | None = None
        self._is_text = True  # nothing but text was said, and no end
        self._times = 0
        self._mark: dict[str, Any] = {}  # who goes on, for the first piece of the rest
        self._begins = False  # nothing of the rest has come yet
        self._blank = False  # what was said ended in white space

    def heard(self, delta: Delta) -> Delta | None:
        """The delta as the caller gets it; None for one that would only begin the answer a second time."""
        if self._first is None:
            self._first = delta
        shown = self._rest(delta) if self._times else delta
        if delta.hidden or delta.finish is not None:
            self._is_text = False
        if shown is not None and shown.text:
            self._pieces.append(shown.text)
        return shown

    def _rest(self, delta: Delta) -> Delta | None:
        """A piece of the rest, as one of the answer that was begun: by its id, and without another beginning."""
        chunk = chunk_of(delta)
        if not chunk:
            return delta
        text = delta.text.lstrip() if self._blank else delta.text
        if self._begins and not (text or delta.hidden or delta.finish is not None or delta.usage is not None):
            return None
        if text:
            self._blank = False
        choices = [dict(choice) for choice in chunk.get("choices") or ()]
        for choice in choices:
            said = {name: value for name, value in (choice.get("delta") or {}).items() if name != "role"}
            if text != delta.text and isinstance(said.get("content"), str):
                said["content"] = text
            choice["delta"] = said
        first = chunk_of(self._first) if self._first is not None else {}
        chunk = {**chunk, "choices": choices, "id": first.get("id") or chunk.get("id")}
        if self._begins:
            self._begins = False
            chunk["tollgate"] = {"continued": self._mark}
        return replace(delta, raw=None, data=chunk, text=text)

    async def go_on(self, answer: "opened") -> bool:
        """Open the rest of the answer at another target; False where none gives it. The broken attempt has ended."""
        call, said = self._call, "".join(self._pieces)
        text = said.rstrip()  # a begun answer that ends in white space is refused by some, and misread by others
        if not self._is_text or not text or self._times >= MOST_TIMES:
            return False
        broken, reported = call.attempts[-1], call.usage
        if call.hold is not None:
            await call.hold.settle(broken)
        call.said, call.usage = 0, Usage()  # what follows is charged by itself
        search = Search(answer, call.plan)
        search.note(step_of(call, broken), "broke off", broken.reason)
        asked = {attempt.target.model for attempt in call.attempts}
        for step in call.plan.steps:
            way = prefill_of(step.targets[0])
            if way is None or step.model in asked or answer.out_of_time(search.least()):
                continue
            if (which := search.pick(step)) is None:
                continue
            answer.body = shortened(begun(call.canonical(), text, way), text)
            if await self._begin(answer, search, step, which):
                self._times += 1
                self._blank = text != said
                self._begins = True
                self._mark = {"model": step.model, "provider": step.view.model.provider, "after_characters": len(said)}
                told = f"went on with the answer of {broken.target.model} after {len(said)} characters"
                call.attempts[-1].reason = told
                search.note(step, "continued", told)
                search.explain()
                if call.keeping is not None:
                    call.keeping.ttl_s = 0  # an answer of two halves is not kept
                return True
        call.usage = reported
        search.explain()
        return False

    async def _begin(self, answer: "opened", search: Search, step: Step, which: int) -> bool:
        """Whether this target begins to go on."""
        if self._call.hold is not None:
            self._call.hold.ask_anew(answer.body)
        try:
            await answer.attempt(step, which, hold_back=True)
        except UpstreamError as error:
            await search.failed(step, error)
            return False
        except Refused as error:  # a budget, or a target that can't be asked this
            step.circuits[which].released()
            search.note(step, "left out", error.message)
            return False
        return True


def step_of(call: Call, attempt: Attempt) -> Step:
    """The step that an attempt went to."""
    step: Step = next(step for step in call.plan.steps if step.model == attempt.target.model)
    return step


def shortened(body: dict[str, Any], text: str) -> dict[str, Any]:
    """The body with what was said taken off the limit that the caller set."""
    written = -(-len(text) // CHARACTERS_PER_TOKEN)
    return body | {name: max(1, body[name] - written) for name in LIMITS if isinstance(body.get(name), int)}


def chunk_of(delta: Delta) -> dict[str, Any]:
    """A delta's JSON; {} for a comment."""
    if delta.data is not None:
        return dict(delta.data)
    data = sse.read(delta.raw or b"")[1]
    return dict(msgspec.json.decode(data)) if data else {}
