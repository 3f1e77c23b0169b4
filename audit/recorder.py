"""Brings the records of one worker into its journal: numbers them, seals their bodies, waits for the disk if asked."""

import asyncio
import hmac
import json
import time

import msgspec

from audit.bodies import BodySealer
from audit.journal import FINAL, INTENT, Journal, JournalFull
from audit.record import Record, begin, bring_up_to_date, encode
from audit.snapshot import Keeping
from gateway.core.call import Call

DAY_US = 86_400 * 1_000_000
SUBJECTS_IN_MEMORY = 10_000
CLOCK_SET_BACK_SECONDS = 60
LIMITED = "rate_limit_exceeded"
# Records of what a flood is made of: so many a second are written, more are only counted.
STRANGERS_PER_SECOND = 20  # calls without a valid key, and those shed
LIMITED_PER_SECOND = 500  # calls of one workspace beyond its rate limits


class Recorder:
    """One per worker. Made once, after the last fork; configurations come and go around it."""

    def __init__(self, journal: Journal, sealer: BodySealer) -> None:
        self.journal, self.sealer = journal, sealer
        self.is_stalled = False  # the database does not take records now; they wait in the journal
        self.denied: dict[tuple[str, str], int] = {}  # (code, peer) -> calls that were counted only
        self._counted: dict[str, int] = {}
        self._subjects: dict[tuple[str, str], str] = {}
        self._floods: dict[str, tuple[int, int]] = {}  # kind of flood -> (second, how many in it)
        self._sync: asyncio.Future[None] | None = None
        self._syncing: asyncio.Task[None] | None = None

    def intend(self, call: Call, keeping: Keeping) -> None:
        """Write down that an attempt is about to be sent. Raises JournalFull: then it must not be sent.

        Should the process die now, this is what is left of the call: a record in doubt.
        """
        if keeping.is_strict and self.is_stalled:
            raise JournalFull("the database does not take records now")
        record = call.record = self._record(call, keeping)
        record.outcome = "in_doubt"
        for attempt in record.attempts:
            attempt.outcome = attempt.outcome or "in_doubt"
        if call.hold is not None:
            record.cost_nanos = sum([line["nanos"] for line in record.entries])
        self.journal.append(INTENT, encode(record), may_use_reserve=not keeping.is_strict)
        if (segment := self.journal.current) is not None:
            self.journal.begun.setdefault(call.id, segment.name)

    def conclude(self, call: Call, keeping: Keeping, message: str = "") -> None:
        """Write the final record. Raises JournalFull: then the answer must not be brought to its end."""
        if (call.caller is None or call.is_shed or call.code == LIMITED) and self._is_flood(call):
            return
        record = self._record(call, keeping)
        record.message = message
        if call.hold is not None:
            record.entries = call.hold.entries
        if keeping.store_bodies:
            self._seal_bodies(record, call, keeping)
        record.seq = self._counted.get(record.workspace_id, 0) + 1
        self.journal.append(FINAL, encode(record))
        self.journal.begun.pop(call.id, None)
        self._counted[record.workspace_id] = record.seq

    async def on_disk(self) -> None:
        """Wait until the disk has all records so far; calls that wait together share one sync."""
        if self._sync is None:
            self._sync = asyncio.get_running_loop().create_future()
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.get_running_loop().create_task(self._keep_syncing())
        await asyncio.shield(self._sync)

    async def _keep_syncing(self) -> None:
        loop = asyncio.get_running_loop()
        while (waiting := self._sync) is not None:
            self._sync = None
            try:
                await loop.run_in_executor(None, self.journal.sync)
            except Exception as error:  # whoever waits must hear of it, whatever it is
                waiting.set_exception(error)
            else:
                waiting.set_result(None)

    # --- parts of a record ---------------------------------------------------------------------------

    def _record(self, call: Call, keeping: Keeping) -> Record:
        """The call's record as it stands now: the one that its intent began, where it has one."""
        record: Record | None = call.record
        if record is None:
            record = begin(call)
            record.worker = self.journal.worker
            if record.user:
                record.subject = self.subject(record.workspace_id, record.user, keeping)
            if keeping.records_days is not None:
                record.keep_until_us = record.at_us + keeping.records_days * DAY_US
        return bring_up_to_date(record, call)

    def subject(self, workspace_id: str, user: str, keeping: Keeping) -> str:
        """The pseudonym under which a person's calls are kept."""
        found = self._subjects.get((workspace_id, user))
        if found is None:
            if len(self._subjects) >= SUBJECTS_IN_MEMORY:
                self._subjects.clear()
            found = subject_token(keeping.subject_key, user)
            self._subjects[(workspace_id, user)] = found
        return found

    def _seal_bodies(self, record: Record, call: Call, keeping: Keeping) -> None:
        if keeping.bodies_days is not None:
            record.bodies_until_us = record.at_us + keeping.bodies_days * DAY_US
        day = time.strftime("%Y-%m-%d", time.gmtime(call.at))
        key = (record.workspace_id, record.subject, day)
        for kind, data in (("request", request_bytes(call)), ("answer", bytes(call.answered or b""))):
            if data:
                record.bodies.append(self.sealer.seal((record.workspace_id, record.call_id, kind), key, data))
        if record.bodies:
            record.body_key = self.sealer.key(*key)

    def _is_flood(self, call: Call) -> bool:
        """Whether so many calls are refused for the same reason that this one is only counted: by its address, or by
        its workspace."""
        kind, most = "strangers", STRANGERS_PER_SECOND
        if call.is_shed:
            kind = "shed"
        elif call.caller is not None:
            if call.attempts:  # the provider's own word
                return False
            kind, most = call.caller.workspace_id, LIMITED_PER_SECOND
        second, seen = self._floods.get(kind, (0, 0))
        now = int(call.at)
        if now > second or now < second - CLOCK_SET_BACK_SECONDS:  # calls don't end in the order of their beginning
            self._floods[kind] = (now, 1)
            return False
        self._floods[kind] = (second, seen + 1)
        if seen < most:
            return False
        counted = (call.code, call.peer if call.caller is None else call.caller.workspace)
        if counted not in self.denied and len(self.denied) >= 1000:
            counted = (call.code, "others")
        self.denied[counted] = self.denied.get(counted, 0) + 1
        return True


def subject_token(subject_key: bytes, user: str) -> str:
    """The pseudonym of an end user: HMAC-SHA-256 under the workspace's key, its first 16 bytes as hex."""
    return hmac.digest(subject_key or b"tollgate", user.encode("utf-8", "surrogatepass"), "sha256")[:16].hex()


def request_bytes(call: Call) -> bytes:
    """The request as it went on after redaction."""
    try:
        return msgspec.json.encode(call.body)
    except UnicodeEncodeError:  # a lone surrogate: JSON's own escape keeps it
        return json.dumps(call.body, ensure_ascii=True, separators=(",", ":")).encode()
