"""A call, a configuration that caches, and entries, without a server or a database."""

import itertools
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from audit.snapshot import AuditSnapshot
from budgets.snapshot import BudgetsSnapshot
from gateway.caching.embedding import Policies
from gateway.caching.entry import Entry, kept
from gateway.caching.memory import MemoryStore
from gateway.core.call import Attempt, Call, Caller, Controls, Delta, Target, Usage
from gateway.edge.chat import Chat
from gateway.snapshot import CacheView, RoutesSnapshot, RouteView

TARGET = Target("one", "p", "openai", "http://upstream", "gpt-one")
POLICIES = Policies(BudgetsSnapshot({}, {}), AuditSnapshot())
_numbers = itertools.count(1)


def routes(**fields: Any) -> RoutesSnapshot:
    return RoutesSnapshot({}, {}, **{"store": MemoryStore(1_000_000), **fields})


def call(
    text: str = "hello",
    *,
    workspace: str = "w",
    view: CacheView | None = None,
    body: dict[str, Any] | None = None,
    **fields: Any,
) -> Call:
    """A chat call on the route `chat`, which caches exactly unless told otherwise. Unknown fields are controls."""
    controls = {name: fields.pop(name) for name in tuple(fields) if name in Controls.__slots__ and name != "prompt"}
    made = Call(
        id=f"call-{next(_numbers)}",
        form=fields.pop("form", None) or Chat(),
        body={"model": "chat", "messages": [{"role": "user", "content": text}], **(body or {})},
        model="chat",
        controls=Controls(**controls),
        caller=Caller(workspace, workspace, "k", "web"),
        route="chat",
        candidates=fields.pop("candidates", (TARGET,)),
    )
    route = RouteView("chat", "priority", (), cache=view or CacheView("exact", 600))
    made.plan = SimpleNamespace(plan=SimpleNamespace(view=route))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def answer(made: Call, text: str = "said", finish: str = "stop") -> Delta:
    """Note an answer on the call as the pipeline does, so that it may be kept."""
    data = {"id": text, "choices": [{"index": 0, "message": {"content": text}, "finish_reason": finish}]}
    made.attempts.append(Attempt(TARGET, 0.0, sent=True, status=200, outcome="answered"))
    delta = Delta(data=data, text=text, finish=finish, usage=Usage(input=3, output=2))
    made.note(delta)
    made.cost_nanos = 70
    return delta


def entry(text: str = "said", **fields: Any) -> Entry:
    now = time.time()
    given = {
        "workspace_id": "w",
        "route": "chat",
        "prompt": "",
        "user": "",
        "model": "one",
        "provider": "p",
        "at": now,
        "expires": now + 60,
        "cost_nanos": 70,
        "deltas": [kept(Delta(data={"id": text}, text=text))],
        "bytes": 1_000,
        "call_id": "first",
    }
    return Entry(**{**given, **fields})


def vector(*numbers: float) -> Any:
    found = np.asarray(numbers, dtype=np.float32)
    return found / np.linalg.norm(found)
