"""The budget's protocol with slices: money that a worker holds ahead, and draws from without asking the store.

An attempt that was drawn is in nobody's hold but the slice's until the store is told of it; the store's answer may be
lost. See budgets/ledger/slices.py. What must hold is what must hold without slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.model.protocol import (
    ASLEEP,
    DEAD,
    DONE,
    DOUBT,
    HELD,
    HOLD,
    LIVE,
    NEW,
    NONE,
    RECOVERED,
    SENT,
    SETTLED,
    Attempt,
    Protocol,
    State,
    put,
)

FAULTS = (
    "sweep a slice to nothing",
    "close before all is told",
    "tell twice and take twice",
    "draw after the rebuilding",
    "take back without proof of death",
    "spend what was told to be needed",
    "tell of a swept slice without a line",
)

UNTOLD, UNSURE, TOLD = "untold", "unsure", "told"


class Slice(NamedTuple):
    """One worker's. here: what it may still draw. state, left, charged: what the store has. line: what is on disk."""

    here: int = 0
    state: str = NONE
    left: int = 0
    charged: int = 0
    line: int = 0
    is_usable: bool = False


class Drawn(NamedTuple):
    """Of one attempt: whether the store knows that it was drawn, and how much of the slice it takes."""

    told: str = ""  # "" where it was not drawn at all
    amount: int = 0
    taken: int = 0  # what the store took from the slice for it


class Sliced(NamedTuple):
    """The state without slices, and what they add."""

    state: State
    slices: tuple[Slice, ...]
    drawn: tuple[Drawn, ...]


@dataclass(frozen=True)
class SliceProtocol:
    """`plain` gives the sizes of the world; its own steps go on beside those of the slices, of `size` each."""

    plain: Protocol
    size: int
    fault: str = ""

    def first(self) -> Sliced:
        plain = self.plain
        return Sliced(plain.first(), (Slice(),) * plain.workers, (Drawn(),) * len(plain.ests))

    # --- Steps ------------------------------------------------------------------------------------------------

    def following(self, at: Sliced) -> Iterator[tuple[str, Sliced]]:
        """Every step that can come next, with the state after it."""
        for step, state in self.plain.following(at.state):
            verb, _, number = step.partition(" ")
            if verb == "rebuild":
                yield step, self.rebuild(at, state)
            elif verb == "lose":
                lost = tuple(each._replace(state=NONE, left=0, charged=0) for each in at.slices)
                yield step, Sliced(state, lost, tuple(each._replace(taken=0) for each in at.drawn))
            elif verb in ("release", "settle") and at.drawn[int(number)].told in (UNTOLD, UNSURE):
                yield step, self.settle_drawn(at, int(number), verb)
            elif verb == "compare":
                continue  # see `quiet`
            elif verb == "wake":
                woken = at.slices[int(number)]._replace(is_usable=False)  # it knows that its lease is over
                yield step, put_slice(at._replace(state=state), int(number), woken)
            else:
                yield step, at._replace(state=state)
        for number, attempt in enumerate(at.state.attempts):
            yield from self.drawing(at, number, attempt)
        for worker, piece in enumerate(at.slices):
            yield from self.slicing(at, worker, piece)
        if at.state.is_up and self.is_quiet(at):
            yield "quiet", self.quiet(at)
        if at.state.is_up and self.lines(at) > at.state.spent + at.state.held:
            yield "load", at._replace(state=at.state._replace(spent=self.lines(at)))

    def drawing(self, at: Sliced, number: int, attempt: Attempt) -> Iterator[tuple[str, Sliced]]:
        """Drawing for one attempt, and telling the store of it, whose answer may be lost."""
        worker = number % self.plain.workers
        piece, drawn, est = at.slices[worker], at.drawn[number], self.plain.ests[number]
        if at.state.workers[worker] != LIVE:
            return
        if attempt.phase == NEW and piece.is_usable and piece.here >= est:
            taken = at._replace(state=put(at.state, number, attempt._replace(phase=HELD)))
            taken = put_slice(taken, worker, piece._replace(here=piece.here - est))
            yield f"draw {number}", put_drawn(taken, number, Drawn(UNTOLD, est))
        if at.state.is_up and drawn.told in (UNTOLD, UNSURE) and piece.state in (HOLD, DOUBT):
            told = self.tell(at, number)
            yield f"tell {number}", put_drawn(told, number, told.drawn[number]._replace(told=TOLD))
            if drawn.told == UNTOLD:
                yield f"tell {number} unheard", put_drawn(told, number, told.drawn[number]._replace(told=UNSURE))

    def tell(self, at: Sliced, number: int) -> Sliced:
        """The store makes a hold of the draw, once, and settles it if it is settled."""
        worker = number % self.plain.workers
        piece, drawn, attempt = at.slices[worker], at.drawn[number], at.state.attempts[number]
        if not drawn.taken or self.fault == "tell twice and take twice":
            if piece.state == HOLD:
                piece = piece._replace(left=piece.left - drawn.amount)
                attempt = attempt._replace(hold=HOLD, held=drawn.amount)
            else:
                piece = piece._replace(charged=piece.charged - drawn.amount)
                unbooked = attempt.phase != DONE and self.fault != "tell of a swept slice without a line"
                line = drawn.amount if unbooked and attempt.line is None else attempt.line
                attempt = attempt._replace(hold=DOUBT, charged=drawn.amount, line=line)
            drawn = drawn._replace(taken=drawn.amount)
        state = put(at.state, number, attempt)
        if attempt.phase == DONE:
            cost = self.plain.costs[number] if attempt.journal == "final" else 0
            state = self.plain.settle(state, number, attempt, cost)
        return put_drawn(put_slice(at._replace(state=state), worker, piece), number, drawn)

    def settle_drawn(self, at: Sliced, number: int, verb: str) -> Sliced:
        """Settled before the store has confirmed the draw: told with it. What it never heard of takes what it cost."""
        worker = number % self.plain.workers
        piece, drawn, attempt = at.slices[worker], at.drawn[number], at.state.attempts[number]
        cost = self.plain.costs[number] if verb == "settle" else 0
        done = attempt._replace(phase=DONE, journal="final" if verb == "settle" else "")
        if drawn.told == UNTOLD or self.fault == "spend what was told to be needed":
            piece = piece._replace(here=piece.here + drawn.amount - cost)
            drawn = drawn._replace(amount=cost, told=TOLD if cost == 0 else drawn.told)
        after = put_slice(at._replace(state=put(at.state, number, done)), worker, piece)
        return put_drawn(after, number, drawn)

    def slicing(self, at: Sliced, worker: int, piece: Slice) -> Iterator[tuple[str, Sliced]]:
        """A slice is opened, closed, swept, and taken back."""
        state, whose = at.state, at.state.workers[worker]
        untold = any(
            each.told in (UNTOLD, UNSURE)
            for number, each in enumerate(at.drawn)
            if number % self.plain.workers == worker
        )
        if whose == LIVE and state.is_up:
            is_first = piece == Slice()
            if is_first and state.spent + state.held + self.size <= self.plain.cap:
                opened = Slice(self.size, HOLD, self.size, is_usable=True)
                yield f"open {worker}", put_slice(held(at, self.size), worker, opened)
            if piece.state in (HOLD, DOUBT) and (not untold or self.fault == "close before all is told"):
                closed = Slice(0, SETTLED, is_usable=False)
                after = held(at, -piece.left) if piece.state == HOLD else spent(at, -piece.charged)
                yield f"close {worker}", put_slice(after, worker, closed)
        if whose in (ASLEEP, DEAD, RECOVERED) and state.is_up and piece.state == HOLD:
            after = held(at, -piece.left)
            if self.fault == "sweep a slice to nothing":
                yield f"sweep slice {worker}", put_slice(after, worker, piece._replace(state=SETTLED, left=0))
            else:
                doubt = piece._replace(state=DOUBT, left=0, charged=piece.left, line=piece.left)
                yield f"sweep slice {worker}", put_slice(spent(after, piece.left), worker, doubt)
        has_proof = whose == RECOVERED
        if has_proof and piece.line:
            yield f"take back {worker}", put_slice(at, worker, piece._replace(line=0))
        if self.fault == "take back without proof of death" and whose == ASLEEP and piece.state == DOUBT:
            freed = piece._replace(state=SETTLED, charged=0, line=0)
            yield f"take back {worker}", put_slice(spent(at, -piece.charged), worker, freed)

    def rebuild(self, at: Sliced, state: State) -> Sliced:
        """Whoever lives puts down what was drawn as its holds, and draws no more; of others nobody draws any more."""
        slices = list(at.slices)
        for worker, piece in enumerate(slices):
            if self.fault == "draw after the rebuilding":
                slices[worker] = piece._replace(state=SETTLED)
            else:
                # A line that a sweeper wrote before stays charged, until its owner or the proof of death takes it back.
                state = state._replace(spent=state.spent + piece.line)
                kept = DOUBT if piece.line else SETTLED
                slices[worker] = Slice(0, kept, charged=piece.line, line=piece.line)
        drawn = tuple(each._replace(told=TOLD) if each.told else each for each in at.drawn)
        return Sliced(state, tuple(slices), drawn)

    def is_quiet(self, at: Sliced) -> bool:
        """Nothing is held, nobody who lives is at work, and every journal that ended is in the database."""
        state, workers = at.state, self.plain.workers
        if state.held or state.spent <= self.lines(at):
            return False
        for number, attempt in enumerate(state.attempts):
            whose = state.workers[number % workers]
            if attempt.journal == "final" and attempt.line != self.plain.costs[number]:
                return False
            if whose == LIVE and (attempt.phase in (HELD, SENT) or at.drawn[number].told in (UNTOLD, UNSURE)):
                return False
        return True

    def quiet(self, at: Sliced) -> Sliced:
        """The counter stayed ahead of the lines while nothing moved: it comes down to them."""
        attempts = tuple(
            attempt
            if attempt.hold != DOUBT
            else attempt._replace(charged=attempt.line or 0, hold=SETTLED if self.is_known(number, attempt) else DOUBT)
            for number, attempt in enumerate(at.state.attempts)
        )
        slices = tuple(
            piece._replace(charged=piece.line, state=DOUBT if piece.line else SETTLED)
            if piece.state == DOUBT
            else piece
            for piece in at.slices
        )
        return at._replace(state=at.state._replace(attempts=attempts, spent=self.lines(at)), slices=slices)

    def is_known(self, number: int, attempt: Attempt) -> bool:
        return attempt.journal == "final" and attempt.line == self.plain.costs[number]

    def lines(self, at: Sliced) -> int:
        return sum(attempt.line or 0 for attempt in at.state.attempts) + sum(piece.line for piece in at.slices)

    # --- What must hold -------------------------------------------------------------------------------------

    def broken(self, at: Sliced) -> str:
        """The promise that this state breaks, or ""."""
        state = at.state
        if not state.is_up:
            return ""
        sent = [number for number, attempt in enumerate(state.attempts) if attempt.journal]
        real = sum(self.plain.costs[number] for number in sent)
        if real > state.spent + state.held:
            return f"the books cover {state.spent + state.held} of {real}"
        if real > self.plain.cap:
            return f"{real} of {self.plain.cap} are really spent"
        if min(state.spent, state.held, *(piece.left for piece in at.slices)) < 0:
            return "a counter is below nothing"
        if self.is_at_rest(at):
            if state.held or state.spent != self.lines(at):
                return f"at rest with {state.held} held and {state.spent} spent, where the lines say {self.lines(at)}"
            covered = sum(piece.line for piece in at.slices)
            if sum(state.attempts[number].line or 0 for number in sent) + covered < real:
                return "less was charged than it cost"
        return ""

    def is_at_rest(self, at: Sliced) -> bool:
        """As without slices; and none is open, and what the lines know better has been taken over."""
        state = at.state
        if not self.plain.is_at_rest(state) or self.is_quiet(at):
            return False
        if self.lines(at) > state.spent:
            return False
        for number, attempt in enumerate(state.attempts):
            whose = state.workers[number % self.plain.workers]
            if whose == LIVE and at.drawn[number].told in (UNTOLD, UNSURE):
                return False
            if whose == DEAD and attempt.journal == "final":
                return False
        return all(
            piece.state not in (HOLD, DOUBT) or (piece.state == DOUBT and state.workers[worker] in (DEAD, RECOVERED))
            for worker, piece in enumerate(at.slices)
        )


def put_slice(at: Sliced, worker: int, piece: Slice) -> Sliced:
    return at._replace(slices=(*at.slices[:worker], piece, *at.slices[worker + 1 :]))


def put_drawn(at: Sliced, number: int, drawn: Drawn) -> Sliced:
    return at._replace(drawn=(*at.drawn[:number], drawn, *at.drawn[number + 1 :]))


def held(at: Sliced, amount: int) -> Sliced:
    return at._replace(state=at.state._replace(held=at.state.held + amount))


def spent(at: Sliced, amount: int) -> Sliced:
    return at._replace(state=at.state._replace(spent=at.state.spent + amount))
