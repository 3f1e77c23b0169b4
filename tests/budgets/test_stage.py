"""Holding and settling: whatever happens to a call, its buckets end with what it cost and hold nothing."""

import asyncio
import gc
from dataclasses import replace
from typing import Any

import pytest

from budgets.hold import known_inputs
from budgets.ledger.memory import MemoryLedger
from budgets.stage import allowed, held
from gateway.core.call import Usage
from gateway.core.counters import StoreUnavailable
from gateway.core.errors import BudgetExceeded, InvalidRequest, PriceUnknown, Unavailable
from tests.budgets.sample import MINI, SONNET, ask, attempt, money, snapshot, sums, tokens


@pytest.fixture(autouse=True)
def _nothing_known():
    known_inputs.clear()


async def test_an_answered_call_costs_what_its_provider_reported_in_every_budget_that_matches():
    config = snapshot(
        money("month", "workspace", 10**9),
        money("search", "team", 10**9, match="search"),
        money("support", "team", 10**9, match="support"),
        money("each key", "key", 10**9),
        money("each user", "user", 10**9),
        tokens("user tokens", "user", 1_000_000),
        money("sonnet", "model", 10**9, match="sonnet"),
        money("openai", "provider", 10**9),
    )
    call = ask(user="ann", max_tokens=100)

    async with held(call, config):
        await call.hold.move(MINI)
        call.attempts.append(attempt())

    cost = 10 * 150 + 5 * 600
    assert sums(config) == {
        "workspace usd": (cost, 0, 0),
        "team usd": (cost, 0, 0),
        "key usd": (cost, 0, 0),
        "user usd": (cost, 0, 0),
        "user tokens": (15, 0, 0),
        "provider usd": (cost, 0, 0),
    }
    assert call.cost_nanos == cost
    assert call.hold.entries == [
        {
            "attempt": f"{call.id}.1",
            "at": call.hold.plan.at,
            "workspace": "1",
            "team": "3",
            "key": "7",
            "user": "ann",
            "model": "gpt-4o-mini",
            "provider": "openai",
            "nanos": cost,
            "tokens": 15,
            "status": "exact",
            "price": "mini",
            "classes": {"input": 10, "output": 5},
        }
    ]


async def test_a_hold_that_is_over_lets_its_call_go():  # or both wait for a collection, with all that was said
    answered, refused = ask(max_tokens=100), ask(max_tokens=100)
    async with held(answered, snapshot(money("month", "workspace", 10**9))):
        pass
    with pytest.raises(BudgetExceeded):
        await held(refused, snapshot(money("month", "workspace", 1))).__aenter__()
    assert not [call for call in (answered, refused) if call in gc.get_referents(call.hold)]


async def test_while_a_call_runs_the_most_it_can_cost_is_held():
    config = snapshot(money("month", "workspace", 10**9))
    call = ask("Hello", max_tokens=100)
    async with held(call, config):
        held_now = sums(config)["workspace usd"]
    bound = (len("Hello") + 16 + 64) * 150 + 100 * 600
    assert held_now == (0, bound, 0)
    assert call.reply_headers["x-tollgate-budget-remaining-usd"] == "1"
    assert sums(config) == {}


@pytest.mark.parametrize(
    ("given", "charged", "status"),
    [
        ({"sent": False}, 0, None),
        ({"status": 429, "outcome": "failed", "usage": Usage()}, 0, "assumed_zero"),
        ({"status": None, "outcome": "timeout", "usage": Usage()}, 85 * 150 + 1000 * 600, "in_doubt"),
        ({"status": 200, "outcome": "answered", "usage": Usage()}, 85 * 150 + 40 * 600, "estimated"),
        ({"status": 200, "outcome": "client_left", "usage": Usage()}, 85 * 150 + (40 + 256) * 600, "in_doubt"),
        ({"status": 200, "outcome": "client_left", "usage": Usage(input=7, output=1)}, 7 * 150 + 296 * 600, "in_doubt"),
        ({"usage": Usage(input=10, output=0)}, 10 * 150 + 40 * 600, "flagged"),
        ({"usage": Usage(input=-3, output=5)}, 85 * 150 + 40 * 600, "flagged"),
        ({"usage": Usage(input=10, output=1500)}, 10 * 150 + 1500 * 600, "exact"),
        ({"usage": Usage(input=10, output=10**9)}, 10 * 150 + 1000 * 600, "flagged"),
    ],
)
async def test_an_attempt_is_charged_by_how_it_ended(given, charged, status):
    config = snapshot(money("month", "workspace", 10**12))
    call = ask("Hello", max_tokens=1000)
    async with held(call, config):
        await call.hold.move(MINI)
        call.attempts.append(attempt(**given))
        call.said = 40
    doubt = charged if status == "in_doubt" else 0
    assert sums(config) == ({"workspace usd": (charged, 0, doubt)} if charged else {})
    assert [entry["status"] for entry in call.hold.entries] == ([] if status is None else [status])


async def test_a_reasoning_model_that_is_left_costs_all_that_was_held():
    target = MINI.__class__(**{**{f: getattr(MINI, f) for f in MINI.__slots__}, "upstream": "o3-mini"})
    config = snapshot(money("month", "workspace", 10**12))
    call = ask("Hello", targets=(target,), max_tokens=1000)
    async with held(call, config):
        await call.hold.move(target)
        call.attempts.append(attempt(target, outcome="client_left", usage=Usage()))
    assert sums(config)["workspace usd"][0] == 85 * 150 + 1000 * 600


async def test_a_fallback_settles_the_failed_attempt_and_holds_for_the_next_target():
    config = snapshot(money("month", "workspace", 10**12), money("each model", "model", 10**12))
    call = ask("Hello", targets=(SONNET, MINI), max_tokens=100)
    async with held(call, config):
        await call.hold.move(SONNET)
        call.attempts.append(attempt(SONNET, status=None, outcome="timeout", usage=Usage()))
        await call.hold.move(MINI)
        call.attempts.append(attempt())
        running = sums(config)
    doubt = 85 * 3000 + 100 * 15_000
    mini = 85 * 150 + 100 * 600
    assert running["workspace usd"] == (doubt, mini, doubt)
    assert sums(config)["workspace usd"] == (doubt + 4500, 0, doubt)
    by_model = {
        name.rsplit(":", 1)[1]: bucket.spent for name, bucket in config.ledger.buckets.items() if "model" in name
    }
    assert by_model == {"sonnet": doubt, "gpt-4o-mini": 4500}
    assert call.cost_nanos == doubt + 4500


async def test_a_fallback_that_no_budget_pays_ends_the_call_and_keeps_what_the_first_attempt_cost():
    config = snapshot(money("sonnet", "model", 1000, match="sonnet"), money("month", "workspace", 10**12))
    call = ask("Hello", targets=(MINI, SONNET), max_tokens=100)
    async with held(call, config):
        await call.hold.move(MINI)
        call.attempts.append(attempt(status=500, outcome="failed", usage=Usage()))
        with pytest.raises(BudgetExceeded, match="'sonnet'"):
            await call.hold.move(SONNET)
    assert sums(config) == {}
    assert [entry["status"] for entry in call.hold.entries] == ["assumed_zero"]


async def test_a_refusal_names_the_budget_what_it_has_what_the_call_may_cost_and_when_it_resets():
    config = snapshot(money("month", "workspace", 10**12), money("search a day", "team", 50_000, per="day"))
    call = ask("Hello", max_tokens=100)
    with pytest.raises(BudgetExceeded) as refused:
        async with held(call, config):
            raise AssertionError("nothing may be sent")
    error = refused.value
    assert (error.status, error.code, error.type) == (429, "budget_exceeded", "insufficient_quota")
    assert error.headers["x-should-retry"] == "false"
    assert error.message.startswith("The budget 'search a day' has $0.00005 left; this call may cost $0.00007275.")
    assert "It resets at" in error.message
    assert sums(config) == {}


async def test_three_hundred_concurrent_calls_on_a_cap_that_pays_for_seventeen_spend_it_all_and_no_more():
    cost = 20 * 150 + 50 * 600
    config = snapshot(money("cap", "key", 17 * cost), wait_s=5.0)
    answered = refused = running = most_running = 0

    async def one(number: int) -> None:
        nonlocal answered, refused, running, most_running
        call = ask("Tell me one thing", **({} if number % 2 else {"max_tokens": 50}))
        try:
            async with held(call, config):
                output = await call.hold.move(MINI)
                running += 1
                most_running = max(most_running, running)
                await asyncio.sleep(0.001)
                running -= 1
                call.attempts.append(attempt(usage=Usage(input=20, output=min(50, output))))
                answered += 1
        except BudgetExceeded:
            refused += 1

    await asyncio.gather(*(one(number) for number in range(300)))

    spent, still_held, _ = sums(config)["key usd"]
    assert (answered, refused) == (17, 283)
    assert spent == 17 * cost
    assert still_held == 0


async def test_fifty_small_calls_of_unknown_length_all_find_room_in_twenty_times_their_cost():
    cost = 20 * 150 + 20 * 600
    config = snapshot(money("cap", "key", 20 * 50 * cost), wait_s=5.0)

    async def one() -> None:
        call = ask("Tell me one thing")
        async with held(call, config):
            await call.hold.move(MINI)
            await asyncio.sleep(0.01)
            call.attempts.append(attempt(usage=Usage(input=20, output=20)))

    await asyncio.gather(*(one() for _ in range(50)))
    assert sums(config) == {"key usd": (50 * cost, 0, 0)}


async def test_the_output_is_always_bounded_and_shrinks_to_what_the_last_money_pays():
    config = snapshot(money("cap", "key", 85 * 150 + 100 * 600))
    call = ask("Hello")
    async with held(call, config):
        assert await call.hold.move(MINI) == 100
        assert call.hold.output_for(MINI) == 100
        assert call.hold.output_for(SONNET) == 16_384


async def test_an_explicit_length_is_refused_where_it_does_not_fit_and_shortened_where_the_budget_affords():
    cap = 85 * 150 + 100 * 600
    with pytest.raises(BudgetExceeded):
        async with held(ask("Hello", max_tokens=101), snapshot(money("cap", "key", cap))):
            raise AssertionError("nothing may be sent")
    call = ask("Hello", max_tokens=101)
    async with held(call, snapshot(money("cap", "key", cap, afford=True))):
        assert await call.hold.move(MINI) == 100


async def test_the_calls_own_budget_bounds_all_its_attempts_together():
    config = snapshot()
    call = ask("Hello", targets=(MINI, MINI), budget_nanos=85 * 150 + 100 * 600)
    async with held(call, config):
        assert await call.hold.move(MINI) == 100
        call.attempts.append(attempt(status=None, outcome="timeout", usage=Usage()))
        with pytest.raises(BudgetExceeded, match="the call's own budget"):
            await call.hold.move(MINI)
    assert call.cost_nanos == 85 * 150 + 100 * 600


async def test_soft_budgets_count_and_never_refuse():
    config = snapshot(money("watch", "model", 1, hard=False))
    call = ask(max_tokens=10)
    async with held(call, config):
        await call.hold.move(MINI)
        call.attempts.append(attempt())
    assert sums(config) == {"model usd": (4500, 0, 0)}


class Away(MemoryLedger):
    """A ledger whose store does not answer."""

    async def reserve(self, *_: Any) -> Any:
        raise StoreUnavailable


@pytest.mark.parametrize(
    ("hard", "policy", "refused"), [(True, "closed", True), (True, "open", False), (False, "closed", False)]
)
async def test_while_the_store_is_away_hard_budgets_refuse_and_soft_ones_count_later(hard, policy, refused):
    budgets = snapshot(money("month", "workspace", 10**9, hard=hard), ledger=Away(), on_unavailable=policy)
    call = ask()
    if refused:
        with pytest.raises(Unavailable) as caught:
            await held(call, budgets).__aenter__()
        assert (caught.value.code, caught.value.headers["retry-after"]) == ("budget_unavailable", "1")
        return
    async with held(call, budgets):
        call.attempts.append(attempt())
    assert [line["tokens"] for line in call.hold.entries] == [15]


@pytest.mark.parametrize(
    ("policy", "hard", "refused"),
    [("reject", True, True), ("reject", False, False), ("ceiling", True, True), ("allow", True, False)],
)
async def test_an_unpriced_model_meets_the_policy_of_its_workspace(policy, hard, refused):
    config = snapshot(money("month", "workspace", 10**12, hard=hard), on_unpriced=policy)
    target = MINI.__class__(**{**{f: getattr(MINI, f) for f in MINI.__slots__}, "model": "unheard-of"})
    call = ask("Hello", targets=(target,), max_tokens=5)
    if refused:
        with pytest.raises(PriceUnknown):
            async with held(call, config):
                raise AssertionError("nothing may be sent")
    else:
        async with held(call, config):
            await call.hold.move(target)
            call.attempts.append(attempt(target))
        assert call.cost_nanos == 0


@pytest.mark.parametrize("value", [-1, 0, 10**9, "5", 1.5, True, 2**63])
async def test_nonsense_as_length_is_the_callers_mistake(value):
    with pytest.raises(InvalidRequest, match="max_tokens"):
        async with held(ask(max_tokens=value), snapshot(money("m", "key", 10**12))):
            raise AssertionError("nothing may be sent")


async def test_two_lengths_at_once_are_refused_and_choices_are_multiplied():
    with pytest.raises(InvalidRequest):
        async with held(ask(max_tokens=5, max_completion_tokens=5), snapshot(money("m", "key", 10**12))):
            raise AssertionError("nothing may be sent")
    config = snapshot(money("m", "key", 10**12))
    call = ask("Hello", max_tokens=5, n=128)
    async with held(call, config):
        assert await call.hold.move(MINI) == 5
        assert sums(config)["key usd"][1] == 85 * 150 + 5 * 128 * 600


@pytest.mark.parametrize("budgeted", [True, False])
async def test_a_cancelled_call_leaves_nothing_held(budgeted):
    config = snapshot(*([money("m", "key", 10**12)] if budgeted else []))
    call = ask("Hello", max_tokens=5)

    async def client() -> None:
        async with held(call, config):
            await call.hold.move(MINI)
            call.attempts.append(attempt(outcome="", usage=Usage()))
            await asyncio.sleep(3600)

    task = asyncio.create_task(client())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sums(config) == ({"key usd": (85 * 150 + 5 * 600, 0, 85 * 150 + 5 * 600)} if budgeted else {})


async def test_waiting_for_other_calls_ends_with_a_refusal_that_says_what_is_held():
    config = snapshot(money("m", "key", 85 * 150 + 110 * 600), wait_s=0.01)
    first, second = ask("Hello", max_tokens=100), ask("Hello", max_tokens=100)
    async with held(first, config):
        with pytest.raises(
            BudgetExceeded, match=r"\$0\.000006 left \(\$0\.00007275 more is held for calls under way\)"
        ):
            async with held(second, config):
                raise AssertionError("nothing may be sent")


KEPT = 85 * 150 + 100 * 600  # what the call below may cost


def hit(**fields):
    """A call whose answer is kept."""
    call = ask("Hello", **{"max_tokens": 100, **fields})
    call.hit = object()
    return call


async def spent_by_another(config, output):
    async with held(other := ask("Hello", max_tokens=output), config):
        await other.hold.move(MINI)
        other.attempts.append(attempt(usage=Usage(input=85, output=output)))


@pytest.mark.parametrize("fields", [{}, {"max_tokens": None}])
async def test_a_kept_answer_is_refused_where_the_budget_is_spent_and_costs_nothing_where_it_is_not(fields):
    config = snapshot(money("cap", "key", 85 * 150 + 100 * 600 + KEPT - 90 * 600))
    async with held(hit(**fields), config):
        pass
    assert sums(config) == {}
    await spent_by_another(config, 100)
    before = sums(config)
    with pytest.raises(BudgetExceeded, match="'cap'"):
        async with held(hit(**fields), config):
            raise AssertionError("nothing may be answered")
    assert sums(config) == before


async def test_a_kept_answer_needs_nothing_of_what_other_calls_hold():
    config = snapshot(money("cap", "key", KEPT + 1), wait_s=60.0)
    async with held(ask("Hello", max_tokens=100), config), asyncio.timeout(1), held(hit(), config):
        assert sums(config) == {"key usd": (0, KEPT, 0)}


async def test_a_call_may_be_looked_at_before_its_question_is_sent_and_again_before_a_kept_answer_is_given():
    config = snapshot(money("cap", "key", KEPT + 1))
    call = hit()
    await allowed(call, config)
    async with held(call, config):
        assert sums(config) == {}


async def test_a_kept_answer_costs_nothing_and_so_fits_the_calls_own_budget():
    config = snapshot(money("each call", "call", 1))
    async with held(hit(budget_nanos=1), config):
        pass
    assert sums(config) == {}


async def test_a_budget_that_is_spent_refuses_a_kept_answer_of_a_model_that_costs_nothing():
    config = snapshot(tokens("cap", "key", 10))
    target = replace(MINI, kind="demo", upstream="free", model="free")
    with pytest.raises(BudgetExceeded):
        async with held(hit(targets=(target,)), config):
            raise AssertionError("nothing may be answered")
