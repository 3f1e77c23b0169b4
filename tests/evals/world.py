"""A suite about a prompt, and a gateway that is a function: it answers as the test says, and counts what it is asked."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from evals.models import Case, Suite
from gateway.client import Completion
from gateway.core.money import nanos
from prompts.models import Prompt
from prompts.services.publishing import Words, save_version
from tenants.models import Workspace


def suite_of(*cases: dict[str, Any], gate: dict[str, Any] | None = None) -> Suite:
    """acme's suite golden, about its prompt summary, which has two versions on the route chat."""
    acme = Workspace.objects.create(name="acme")
    prompt = Prompt.objects.create(workspace=acme, name="summary")
    for text in ("one", "two"):
        words = Words(messages=[{"role": "user", "content": f"{text} {{{{text}}}}"}], route="chat")
        save_version(prompt=prompt, words=words)
    suite = Suite.objects.create(workspace=acme, name="golden", prompt="summary", gate=gate or {})
    for at, case in enumerate(cases):
        Case.objects.create(suite=suite, position=at, **case)
    return suite


def case(name: str, *assertions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "inputs": {"text": name}, "assertions": list(assertions), **more}


@dataclass
class Gateway:
    """`say` gives an answer's text, or a whole Completion, for a call's body. Each call costs `cost_nanos`."""

    say: Callable[[dict[str, Any]], str | Completion] = lambda body: f"said {(body.get('inputs') or {}).get('text')}"
    cost_nanos: int = 1000
    asked: list[dict[str, Any]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    async def complete(self, *, workspace: Workspace, name: str, body: dict[str, Any]) -> Completion:
        """As the gateway does it: a call that may cost more than its budget is refused, and costs nothing."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if "budget" in body and nanos(body["budget"]) < self.cost_nanos:
            return Completion("refused", code="budget_exceeded", error="one call may cost more")
        self.asked.append(body)
        said = self.say(body)
        if isinstance(said, str):
            said = Completion(f"call-{len(self.asked)}", text=said, finish="stop")
        return replace(said, cost_nanos=self.cost_nanos)
