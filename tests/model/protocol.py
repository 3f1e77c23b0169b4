"""The budget's protocol as a small machine whose every reachable state is visited.

One bucket with a cap, a few attempts on two workers, a store that counts, a journal for each worker, the ledger's
lines. Workers are killed, fall asleep beyond their lease and wake again, the store loses everything. Every step is
one that the product does atomically; between any two of them any other may come.

What must hold in every state while the store counts:    real <= spent + held, and real <= cap
and where everything has come to rest:                   held = 0, spent = sum of the lines, every line >= its cost

(spent + held may pass the cap for a while after a rebuilding: a worker that can't be asked is charged its holds.)

`faults` breaks one step, as peers did or as a first draft of ours did; each of them must be found.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

NEW, READ, HELD, SENT, DONE, REFUSED = "new", "read", "held", "sent", "done", "refused"
NONE, HOLD, DOUBT, SETTLED = "", "H", "X", "S"
LIVE, ASLEEP, DEAD, RECOVERED = "live", "asleep", "dead", "recovered"

FAULTS = (
    "check then act",
    "shrink the hold",
    "expire to zero",
    "rebuild from the lines alone",
    "sweep what was not sent to zero",
    "sweep without a line",
)


class Attempt(NamedTuple):
    """phase: what its worker remembers. hold, held, charged: what the store has. journal, line: what is on disk."""

    phase: str = NEW
    hold: str = NONE
    held: int = 0
    charged: int = 0
    journal: str = ""  # "", "intent", "final"
    line: int | None = None


class State(NamedTuple):
    attempts: tuple[Attempt, ...]
    workers: tuple[str, ...]
    spent: int = 0
    held: int = 0
    is_up: bool = True
    crashes: int = 0
    naps: int = 0
    losses: int = 0


@dataclass(frozen=True)
class Protocol:
    """Sizes of the world. Attempt number n has ests[n], costs[n] <= ests[n], and runs on worker n % workers."""

    cap: int
    ests: tuple[int, ...]
    costs: tuple[int, ...]
    workers: int = 2
    crashes: int = 1
    naps: int = 1
    losses: int = 1
    fault: str = ""

    def first(self) -> State:
        return State(tuple(Attempt() for _ in self.ests), (LIVE,) * self.workers)

    # --- Steps --------------------------------------------------------------------------------------------------

    def following(self, state: State) -> Iterator[tuple[str, State]]:
        """Every step that can come next, with the state after it."""
        for number, attempt in enumerate(state.attempts):
            worker = state.workers[number % self.workers]
            if worker == LIVE:
                yield from self.working(state, number, attempt)
            if worker in (ASLEEP, DEAD, RECOVERED) and state.is_up and attempt.hold == HOLD:
                yield f"sweep {number}", self.sweep(state, number, attempt)
            if attempt.journal == "final" and attempt.line != self.costs[number]:
                yield f"drain {number}", put(state, number, attempt._replace(line=self.costs[number]))
            if state.is_up and self.is_ahead(number, attempt):
                yield f"compare {number}", self.settle(state, number, attempt, self.costs[number])
        for number, worker in enumerate(state.workers):
            yield from self.happening(state, number, worker)
        if state.is_up and state.losses < self.losses:
            lost = tuple(each._replace(hold=NONE, held=0, charged=0) for each in state.attempts)
            yield "lose", state._replace(attempts=lost, spent=0, held=0, is_up=False, losses=state.losses + 1)
        if not state.is_up:
            yield "rebuild", self.rebuild(state)

    def working(self, state: State, number: int, attempt: Attempt) -> Iterator[tuple[str, State]]:
        """What a worker that lives does for one attempt."""
        est, cost = self.ests[number], self.costs[number]
        match attempt.phase:
            case "new" if state.is_up:
                yield from self.reserve(state, number, attempt, est)
            case "read" if state.is_up:
                taken = attempt._replace(phase=HELD, hold=HOLD, held=est)
                yield f"take {number}", put(state, number, taken)._replace(held=state.held + est)
            case "held":
                sent = attempt._replace(phase=SENT, journal="intent")
                yield f"send {number}", put(state, number, sent)
                if state.is_up:
                    done = attempt._replace(phase=DONE, journal="")
                    yield f"release {number}", self.settle(state, number, done, 0)
            case "sent":
                done = attempt._replace(phase=DONE, journal="final")
                # Without a store the settlement is owed; the journal has the line, and the rebuilding takes it.
                after = self.settle(state, number, done, cost) if state.is_up else put(state, number, done)
                yield f"settle {number}", after

    def reserve(self, state: State, number: int, attempt: Attempt, est: int) -> Iterator[tuple[str, State]]:
        free = self.cap - state.spent - state.held
        if self.fault == "check then act":
            phase = READ if est <= free else REFUSED
            yield f"look {number}", put(state, number, attempt._replace(phase=phase))
            return
        amount = min(est, free) if self.fault == "shrink the hold" and free > 0 else est
        if amount > free:
            yield f"refuse {number}", put(state, number, attempt._replace(phase=REFUSED))
        else:
            taken = attempt._replace(phase=HELD, hold=HOLD, held=amount)
            yield f"reserve {number}", put(state, number, taken)._replace(held=state.held + amount)

    def settle(self, state: State, number: int, attempt: Attempt, cost: int) -> State:
        """Replace the hold, or what was charged in doubt; the second time it does nothing."""
        if attempt.hold == HOLD:
            settled = attempt._replace(hold=SETTLED, held=0, charged=cost)
            return put(state, number, settled)._replace(held=state.held - attempt.held, spent=state.spent + cost)
        if attempt.hold == DOUBT:
            settled = attempt._replace(hold=SETTLED, charged=cost, line=cost if attempt.line is not None else None)
            return put(state, number, settled)._replace(spent=state.spent + cost - attempt.charged)
        return put(state, number, attempt)

    def sweep(self, state: State, number: int, attempt: Attempt) -> State:
        """A hold whose worker's lease is over becomes a doubt, charged in full, with its line: never nothing."""
        est = attempt.held
        zero = self.fault == "expire to zero"
        zero = zero or (self.fault == "sweep what was not sent to zero" and attempt.journal == "")
        if zero:
            swept = attempt._replace(hold=SETTLED, held=0, charged=0)
            return put(state, number, swept)._replace(held=state.held - est)
        line = attempt.line if self.fault == "sweep without a line" or attempt.line is not None else est
        swept = attempt._replace(hold=DOUBT, held=0, charged=est, line=line)
        return put(state, number, swept)._replace(held=state.held - est, spent=state.spent + est)

    def happening(self, state: State, number: int, worker: str) -> Iterator[tuple[str, State]]:
        """What happens to a worker, and what the one that finds its journal does."""
        if worker in (LIVE, ASLEEP) and state.crashes < self.crashes:
            dead = turned(state, number, DEAD)._replace(crashes=state.crashes + 1)
            yield f"kill {number}", dead
        if worker == LIVE and state.naps < self.naps:
            yield f"sleep {number}", turned(state, number, ASLEEP)._replace(naps=state.naps + 1)
        if worker == ASLEEP:
            yield f"wake {number}", turned(state, number, LIVE)
        if worker == DEAD and state.is_up:
            yield f"recover {number}", self.recover(turned(state, number, RECOVERED), number)

    def recover(self, state: State, number: int) -> State:
        """The journal's lock is the proof of death: its lines say what became of every attempt."""
        for place, attempt in enumerate(state.attempts):
            if place % self.workers != number:
                continue
            if attempt.journal == "final":
                cost = self.costs[place]
                state = self.settle(state, place, attempt._replace(line=cost), cost)
            elif attempt.journal == "intent":
                line = attempt.line if attempt.line is not None else self.ests[place]
                state = put(state, place, attempt._replace(line=line))
            elif attempt.hold in (HOLD, DOUBT):  # held and never sent
                line = 0 if attempt.line is not None else None
                state = self.settle(state, place, attempt._replace(line=line), 0)
        return state

    def rebuild(self, state: State) -> State:
        """The sum of the lines, what living workers hold, and what the others last said that they held."""
        attempts, spent, held = [], 0, 0
        for number, attempt in enumerate(state.attempts):
            worker = state.workers[number % self.workers]
            is_running = attempt.phase in (HELD, SENT) and worker != RECOVERED
            if worker == LIVE and attempt.journal == "final":
                attempt = attempt._replace(line=self.costs[number])  # a worker that lives flushes its journal
            if self.fault == "rebuild from the lines alone":
                is_running = False
            if attempt.line is not None:
                spent += attempt.line
                is_open = is_running or attempt.journal != "final" or attempt.line != self.costs[number]
                attempt = attempt._replace(hold=DOUBT if is_open else SETTLED, charged=attempt.line)
            elif is_running and worker == LIVE:
                held += self.ests[number]
                attempt = attempt._replace(hold=HOLD, held=self.ests[number])
            elif is_running:
                spent += self.ests[number]  # its worker can't be reached: what it last said that it held
                attempt = attempt._replace(hold=DOUBT, charged=self.ests[number], line=self.ests[number])
            elif attempt.journal == "final" and worker != LIVE:
                spent += self.ests[number]  # the same: it settled, and its journal can't be read yet
                attempt = attempt._replace(hold=DOUBT, charged=self.ests[number], line=self.ests[number])
            attempts.append(attempt)
        return state._replace(attempts=tuple(attempts), spent=spent, held=held, is_up=True)

    # --- What must hold ---------------------------------------------------------------------------------------

    def broken(self, state: State) -> str:
        """The promise that this state breaks, or ""."""
        if state.is_up:
            sent = [number for number, attempt in enumerate(state.attempts) if attempt.journal]
            real = sum(self.costs[number] for number in sent)
            if real > state.spent + state.held:
                return f"the books cover {state.spent + state.held} of {real}"
            if real > self.cap:
                return f"{real} of {self.cap} are really spent"
            if self.is_at_rest(state):
                lines = sum(attempt.line or 0 for attempt in state.attempts)
                if state.held or state.spent != lines:
                    return f"at rest with {state.held} held and {state.spent} spent, where the lines say {lines}"
                if any((state.attempts[number].line or 0) < self.costs[number] for number in sent):
                    return "an attempt was charged less than it cost"
        return ""

    def is_at_rest(self, state: State) -> bool:
        """Nobody works or sleeps, nothing is held, every journal that ended is in the database.

        A dead worker's journal may never be read, for its disk may be gone: the sweeper's lines must do.
        """
        if ASLEEP in state.workers:
            return False
        return all(
            (attempt.phase in (DONE, REFUSED) or state.workers[number % self.workers] in (DEAD, RECOVERED))
            and attempt.hold != HOLD
            and not (attempt.journal == "final" and attempt.line != self.costs[number])
            and not self.is_ahead(number, attempt)
            for number, attempt in enumerate(state.attempts)
        )

    def is_ahead(self, number: int, attempt: Attempt) -> bool:
        """Whether the store still charges a doubt that the lines know better. Comparing brings it down."""
        return attempt.hold == DOUBT and attempt.journal == "final" and attempt.line == self.costs[number]


def put(state: State, number: int, attempt: Attempt) -> State:
    attempts = (*state.attempts[:number], attempt, *state.attempts[number + 1 :])
    return state._replace(attempts=attempts)


def turned(state: State, number: int, worker: str) -> State:
    return state._replace(workers=(*state.workers[:number], worker, *state.workers[number + 1 :]))


def explore(protocol: Protocol) -> tuple[int, str, list[str]]:
    """Visit every state that can be reached: how many there are, the first broken promise, and the steps to it."""
    start = protocol.first()
    came: dict[State, tuple[State, str] | None] = {start: None}
    frontier = [start]
    while frontier:
        reached = []
        for state in frontier:
            for step, after in protocol.following(state):
                if after in came:
                    continue
                came[after] = (state, step)
                if wrong := protocol.broken(after):
                    return len(came), wrong, path(came, after)
                reached.append(after)
        frontier = reached
    return len(came), "", []


def path(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    steps: list[str] = []
    while (before := came[state]) is not None:
        state, step = before
        steps.append(step)
    return steps[::-1]


def with_fault(protocol: Protocol, fault: str) -> Protocol:
    return replace(protocol, fault=fault)
