"""What this very call may cost at each target, for routes that go to the cheapest."""

from collections.abc import Sequence
from typing import NamedTuple

from budgets.estimate import estimate
from budgets.plan import price_of
from budgets.snapshot import BudgetsSnapshot
from gateway.core.bounds import asked_output, choices, measure
from gateway.core.call import Call, Target


class Costs(NamedTuple):
    """Prices for comparing targets. Part of the routes' snapshot, so that one revision's prices go with its routes."""

    budgets: BudgetsSnapshot

    def of(self, call: Call, targets: Sequence[Target]) -> list[int | None]:
        """The dearest case of the call in nano-dollars at each target; None where no price or no bound is known."""
        body = call.chat if call.chat is not None else call.body
        size, asked, count = measure(body), asked_output(body), choices(body)
        found: list[int | None] = []
        for target in targets:
            price = price_of(target, self.budgets, call.at)
            guess = None if price is None else estimate(size, body, call.form.name, target, asked, count)
            found.append(None if price is None or guess is None else price.ceiling(guess))
        return found
