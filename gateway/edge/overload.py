"""How many calls a worker takes at once, and whose. What is too much is refused early and cheaply, with 503.

Three rules, looked at in this order before a body is read:

    the limit    at most `most` calls at once; fewer while the event loop lags, for then the processor is the bottleneck
                 and every further call makes all of them slower; none while memory is nearly used up, and when it is
                 worse than that the largest of those that run is ended, one a second
    the class    batch and eval calls leave room for the others
    the share    while the worker is busy, a workspace holds no more than an even share of the places, so that one that
                 opens a thousand streams does not shut out the others; some places are kept for those below theirs

A call that finds no place waits a moment, the newest first: under pressure the oldest have callers that gave up.
"""

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

from gateway.core.errors import GatewayError, Unavailable

log = logging.getLogger(__name__)

MOST_CALLS = 2000
LEAST_CALLS = 512  # never fewer, however late the loop is: it may be the machine that is slow, and not our calls
TICK_SECONDS = 0.05
LAG_SECONDS = 0.2  # a loop that is later than this, most of the time, has too much to do
WAIT_SECONDS = 0.02  # so that a refusal comes well within 50 ms
BUSY_SHARE = 0.5  # of the limit: from here on shares count
ONE_WORKSPACE_SHARE = 0.75  # the most for one of several, however idle the others are
KEPT_SHARE = 0.1  # beyond the limit, for workspaces that hold less than their share
CLASS_SHARES = {"interactive": 1.0, "normal": 1.0, "batch": 0.7, "eval": 0.5}
MEMORY_TICKS = 20
MEMORY_CAREFUL, MEMORY_FULL, MEMORY_OVER = 0.85, 0.92, 0.95  # of what this process may use

chance = SystemRandom()


class Overload:
    """The places of one worker. `enter` before a call, `leave` after it, from the event loop's thread."""

    def __init__(self, most: int = MOST_CALLS) -> None:
        self.most = most
        self.limit = float(most)
        self.running = 0
        self.by_workspace: dict[str, int] = {}
        self.refused = 0
        self.memory = 0.0
        self.relieve: Callable[[GatewayError], None] = lambda error: None  # ends the largest answer under way
        self._lags: deque[float] = deque(maxlen=8)
        self._waiting: list[tuple[asyncio.Future[None], str, str, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._ticks = 0

    def start(self) -> None:
        """Begin to watch the event loop; the watch ends with it."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + TICK_SECONDS
        self._timer = loop.call_at(self._due, self._tick, loop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def is_busy(self) -> bool:
        """Whether work that nobody waits for should not be begun now."""
        return self.running >= self.limit * BUSY_SHARE / 2 or self.memory > MEMORY_CAREFUL or self.limit < self.most

    async def enter(self, workspace: str, workspaces: int, priority: str = "normal") -> None:
        """Take a place, waiting up to 20 ms for one. Raises Unavailable (overloaded) with retry-after.

        `workspaces` is how many there are: alone, one may take everything.
        """
        if self._fits(workspace, workspaces, priority):
            self._take(workspace)
            return
        if self._timer is None or self.memory > MEMORY_FULL or len(self._waiting) > self.limit / 4:
            raise self._refusal(workspace)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (place, workspace, priority, workspaces)
        self._waiting.append(entry)
        handle = asyncio.get_running_loop().call_later(WAIT_SECONDS, place.cancel)
        try:
            await asyncio.wait((place,))
        finally:
            handle.cancel()
            if entry in self._waiting:
                self._waiting.remove(entry)
            if place.done() and not place.cancelled() and asyncio.current_task().cancelling():  # type: ignore[union-attr]
                self.leave(workspace)  # the caller left while the place was given
        if place.cancelled():
            raise self._refusal(workspace)

    def leave(self, workspace: str) -> None:
        """Give the place back; the newest of those who wait and fit takes it."""
        self.running -= 1
        left = self.by_workspace[workspace] - 1
        if left:
            self.by_workspace[workspace] = left
        else:
            del self.by_workspace[workspace]
        for index in range(len(self._waiting) - 1, -1, -1):
            place, waiting, priority, workspaces = self._waiting[index]
            if not place.done() and self._fits(waiting, workspaces, priority):
                del self._waiting[index]
                self._take(waiting)
                place.set_result(None)
                return

    def _take(self, workspace: str) -> None:
        self.running += 1
        self.by_workspace[workspace] = self.by_workspace.get(workspace, 0) + 1

    def _fits(self, workspace: str, workspaces: int, priority: str) -> bool:
        running, limit = self.running, self.limit
        if running < limit * BUSY_SHARE and self.memory < MEMORY_CAREFUL:
            return True
        share = CLASS_SHARES.get(priority, 1.0)
        if (
            self.memory > MEMORY_FULL
            or (self.memory > MEMORY_CAREFUL and share < 1.0)
            or running >= limit * (share + KEPT_SHARE)
        ):
            return False
        if workspaces <= 1:
            return running < limit * share
        held = self.by_workspace.get(workspace, 0)
        active = len(self.by_workspace) + (not held)
        if held < limit / max(active, 2) / 2:  # far below its share: the kept places are for such
            return True
        return running < limit * share and held < limit * min(ONE_WORKSPACE_SHARE, max(1 / active, self._spare(active)))

    def _spare(self, active: int) -> float:
        """What one may hold beyond its even share, because the others leave it unused: max-min fairness."""
        free = max(0.0, self.limit - self.running)
        return 1 / active + free / self.limit / active

    def _refusal(self, workspace: str) -> Unavailable:
        self.refused += 1
        return overloaded(hang_up=self.memory > MEMORY_FULL)

    # --- the watch ---------------------------------------------------------------------------------------

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._lags.append(now - self._due)
        self._adapt(sorted(self._lags)[len(self._lags) // 2])
        self._ticks += 1
        if self._ticks % MEMORY_TICKS == 1:
            self.memory = memory_share()
            if self.memory > MEMORY_OVER:
                log.error("%.0f %% of the memory is used: the largest call is ended", self.memory * 100)
                self.relieve(overloaded())
        self._due = now + TICK_SECONDS
        self._timer = loop.call_at(self._due, self._tick, loop)

    def _adapt(self, lag: float) -> None:
        """Fewer at once while the loop lags, down from what runs now; more again, slowly, when it does not."""
        if lag > LAG_SECONDS and self.running > LEAST_CALLS:
            if self.limit == self.most:
                log.warning("overloaded: the event loop is %.0f ms late with %d calls", lag * 1000, self.running)
            self.limit = max(float(min(LEAST_CALLS, self.most)), min(self.limit, float(self.running)) * 0.95)
        elif self.limit < self.most:
            self.limit = min(float(self.most), self.limit * 1.02 + 1)


def overloaded(*, hang_up: bool = False) -> Unavailable:
    """The refusal, which says when to come back: spread out, so that not all do so together."""
    headers = {"retry-after": str(1 + chance.randrange(3))}
    if hang_up:
        headers["connection"] = "close"
    return Unavailable("The gateway has more calls than it can take.", headers=headers)


def memory_share() -> float:
    """How much of the memory that this process may use it does use, 0 to 1; 0 where the system does not tell."""
    try:
        used = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return used / MEMORY_BYTES if MEMORY_BYTES else 0.0
    except (OSError, ValueError, IndexError):
        return 0.0


def memory_bytes() -> int:
    """What this process may use: its part of the control group's limit, or of the machine's; 0 when not known."""
    found = []
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            found.append(int(text))
    with suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=0) // int(os.environ.get("TOLLGATE_WORKERS", "1"))


MEMORY_BYTES = memory_bytes()
