"""A call, a target and budgets in memory, for tests of the money alone."""

from dataclasses import replace
from itertools import count
from typing import Any

from budgets.ledger.memory import MemoryLedger
from budgets.periods import clock
from budgets.pricing import Price, parse_price
from budgets.snapshot import BudgetsSnapshot, BudgetView, WorkspaceBudgets
from gateway.core.call import Attempt, Call, Caller, Controls, Target, Usage

CALLER = Caller(workspace_id="1", workspace="acme", key_id="7", key="web", team_id="3", team="search")
MINI = Target(
    model="gpt-4o-mini",
    provider="openai",
    kind="openai",
    base_url="",
    upstream="gpt-4o-mini",
    max_output_tokens=16_384,
)
SONNET = replace(MINI, model="sonnet", provider="anthropic", kind="anthropic", upstream="claude-sonnet-4-5")
MINI_PRICE = parse_price({"input": "0.15", "output": "0.60", "cached_input": "0.075"}, version="mini")
SONNET_PRICE = parse_price({"input": "3", "output": "15"}, version="sonnet")

numbers = count(1)


class Form:
    name = "chat"

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        return body


def ask(text: str = "Hello", targets: tuple[Target, ...] = (MINI,), **fields: Any) -> Call:
    """A chat call by CALLER. `budget_nanos`, `user` and `timeout_s` are controls, the rest goes into the body."""
    controls = {name: fields.pop(name) for name in ("budget_nanos", "user", "timeout_s") if name in fields}
    body = {"model": "chat", "messages": [{"role": "user", "content": text}], **fields}
    call = Call(id=f"call-{next(numbers)}", form=Form(), body=body, model="chat", controls=Controls(**controls))
    call.caller, call.candidates, call.peer = CALLER, targets, "192.0.2.1"
    return call


def money(name: str, of: str, limit: int, **options: Any) -> BudgetView:
    """A budget of dollars, in nano-dollars, a month unless it says otherwise."""
    return BudgetView(name, of, options.pop("match", ""), options.pop("per", "month"), limit, "usd", **options)


def tokens(name: str, of: str, limit: int, **options: Any) -> BudgetView:
    return BudgetView(name, of, options.pop("match", ""), options.pop("per", "day"), limit, "tokens", **options)


def snapshot(*budgets: BudgetView, ledger: Any = None, wait_s: float = 0.0, **workspace: Any) -> BudgetsSnapshot:
    prices: dict[str, tuple[tuple[float, Price], ...]] = {
        "gpt-4o-mini": ((0.0, MINI_PRICE),),
        "sonnet": ((0.0, SONNET_PRICE),),
    }
    held = WorkspaceBudgets(
        clock=clock("UTC"),
        per_call=tuple(each for each in budgets if each.of == "call"),
        others=tuple(each for each in budgets if each.of != "call"),
        **workspace,
    )
    return BudgetsSnapshot(
        workspaces={"1": held},
        prices=prices,
        ledger=MemoryLedger() if ledger is None else ledger,
        wait_s=wait_s,
    )


def attempt(target: Target = MINI, **fields: Any) -> Attempt:
    """An attempt that was answered with 10 tokens in and 5 out, unless told otherwise."""
    fields = {"sent": True, "status": 200, "outcome": "answered", "usage": Usage(input=10, output=5)} | fields
    return Attempt(target, 0.0, **fields)


def sums(config: BudgetsSnapshot) -> dict[str, tuple[int, int, int]]:
    """(spent, held, in doubt) by "of" and unit, of the buckets that saw any money."""
    found = {}
    for name, state in config.ledger.sums().items():
        _, of, _, _, unit, _ = name.split(":", 5)
        if any(state):
            found[f"{of} {unit}"] = state
    return found
