"""A call as the pipeline leaves it, without the pipeline."""

import itertools
import uuid

from audit.bodies import BodySealer
from audit.journal import Journal
from audit.recorder import Recorder
from audit.snapshot import AuditSnapshot, Keeping
from audit.stage import recording
from audit.writer import Writer
from gateway.core.call import Attempt, Call, Caller, Controls, Target, Usage
from gateway.core.crypto import Keyring, new_key

KEYRING = Keyring([new_key()])
ACME = Caller("1", "acme", "key-1", "web", "7", "search")
MINI = Target(
    model="gpt-4o-mini",
    provider="openai",
    kind="openai",
    base_url="http://x",
    upstream="gpt-4o-mini",
    credential="main",
)
_numbers = itertools.count(1)


class Chat:
    name = "chat"


def call(caller=ACME, *, attempts=1, user="", metadata=None, body=None, **fields):
    made = Call(
        id=fields.pop("id", None) or f"{next(_numbers):08x}-{uuid.uuid4()}",
        form=Chat(),
        body=body or {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]},
        model="chat",
        controls=Controls(user=user, metadata=metadata or {}, tags=fields.pop("tags", ())),
    )
    made.caller = caller
    made.route = "chat"
    usage = Usage(input=12, output=30, cached=4)
    made.attempts = [
        Attempt(target=MINI, started=0.001, status=200, outcome="answered", ended=0.2, usage=usage, cost_nanos=19_800)
        for _ in range(attempts)
    ]
    made.usage, made.cost_nanos, made.ttft, made.finish = usage, 19_800, 0.05, "stop"
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def recorder(folder, **options):
    return Recorder(Journal(folder, **{"reserve_bytes": 65536, **options}).open(), BodySealer(KEYRING.seal))


def snapshot(recorder, **keeping):
    return AuditSnapshot(keeping={"1": Keeping(subject_key=b"k", **keeping)}, recorder=recorder)


async def carry(made, audit, error=None):
    """Take a call through the bracket and out of it, with this error if any."""
    async with recording(made, audit):
        if error is not None:
            raise error


def drained(recorder):
    """The writer after it has brought everything so far into the database."""
    writer = Writer(recorder.journal)
    writer.drain()
    return writer
