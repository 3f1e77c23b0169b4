"""The order in which targets are tried."""

import time
from collections import Counter

import pytest

from budgets.pricing import Price, Rates
from budgets.snapshot import BudgetsSnapshot
from gateway.core.call import Caller
from gateway.core.errors import Forbidden, NotFound, Unsupported
from gateway.edge.responses import Responses
from gateway.routing.cost import Costs
from gateway.routing.stage import choose
from gateway.snapshot import TargetView
from tests.gateway.routing.sample import Client, ask, config, model

URL = "http://127.0.0.1:9/v1"


def order(call, routes) -> list[str]:
    choose(call, routes)
    return [target.model for target in call.candidates]


def split(weights: dict[str, int], **route):
    return config(
        *(TargetView(model(name, URL), weight=weight) for name, weight in weights.items()),
        strategy="weighted",
        **{"sticky_by": "user", **route},
    )


def arms(weights: dict[str, int], users: int) -> list[str]:
    routes = split(weights)
    return [order(ask(user=f"user-{number}"), routes)[0] for number in range(users)]


def test_a_split_over_a_hundred_thousand_users_is_what_was_asked_for():
    routes = split({"a": 50, "b": 50})
    found = Counter(order(ask(user=f"u{number}"), routes)[0] for number in range(100_000))
    chi_squared = sum((found[name] - 50_000) ** 2 / 50_000 for name in ("a", "b"))
    assert chi_squared < 10.83  # p = 0.001 at one degree of freedom; the hash is fixed, so this is no matter of luck


def test_the_same_user_gets_the_same_arm_in_every_process_and_after_every_start():
    assert arms({"a": 50, "b": 50}, 12) == list("bbbbbbabbabb")


@pytest.mark.parametrize("before_after", [((95, 5), (80, 20)), ((80, 20), (50, 50)), ((100, 0), (99, 1))])
def test_raising_a_weight_moves_nobody_who_is_already_there(before_after):
    before, after = (arms(dict(zip("ab", weights, strict=True)), 5000) for weights in before_after)
    stayed = [now for was, now in zip(before, after, strict=True) if was == "b"]
    assert stayed == ["b"] * len(stayed)
    assert after.count("b") > before.count("b")


def test_with_three_arms_too():
    before, after = arms({"a": 90, "b": 5, "c": 5}, 5000), arms({"a": 75, "b": 20, "c": 5}, 5000)
    assert {now for was, now in zip(before, after, strict=True) if was == "b"} == {"b"}


def test_a_target_of_weight_nothing_is_never_taken():
    assert set(arms({"a": 1, "b": 0}, 200)) == {"a"}


def test_users_of_two_workspaces_with_the_same_name_are_two_people():
    routes = split({"a": 50, "b": 50})
    pairs = [
        [order(ask(user=f"u{n}", caller=Caller(w, w, "k", "k")), routes)[0] for w in ("w1", "w2")] for n in range(200)
    ]
    assert 60 < sum(first != second for first, second in pairs) < 140


def test_without_a_user_each_call_draws_anew():
    routes = split({"a": 50, "b": 50})
    found = Counter(order(ask(), routes)[0] for _ in range(400))
    assert 120 < found["a"] < 280


def test_sticky_by_session_and_by_key():
    by_session, by_key = split({"a": 1, "b": 1}, sticky_by="session"), split({"a": 1, "b": 1}, sticky_by="key")
    assert len({order(ask(session_id="s"), by_session)[0] for _ in range(30)}) == 1
    assert len({order(ask(), by_key)[0] for _ in range(30)}) == 1


def test_the_cheapest_for_this_very_call_comes_first():
    def price(input_nanos: int, output_nanos: int):
        return ((0.0, Price(Rates(input=input_nanos, output=output_nanos))),)

    prices = {"talker": price(1_000, 9_000_000_000), "reader": price(1_000_000_000, 1_000)}
    routes = config(model("unpriced", URL), model("talker", URL), model("reader", URL), strategy="cost")
    routes = type(routes)(
        routes.routes, routes.models, costs=Costs(BudgetsSnapshot(prices=prices)), upstream=routes.upstream
    )
    short = ask(text="hi")
    short.body["max_tokens"] = 2000
    long = ask(text="word " * 20_000)
    long.body["max_tokens"] = 1
    assert order(short, routes) == ["reader", "talker", "unpriced"]
    assert order(long, routes) == ["talker", "reader", "unpriced"]


def test_the_fastest_of_late_comes_first_and_the_unmeasured_before_it():
    client = Client()
    routes = config(model("slow", URL), model("new", URL), model("fast", URL), strategy="latency", client=client)
    now = time.monotonic()
    for name, seconds in (("slow", 0.9), ("fast", 0.1)):
        for _ in range(20):
            client.health.speed(routes.models[name].targets[0]).note(now, seconds)
    found = Counter(tuple(order(ask(), routes)) for _ in range(2000))
    assert found.most_common(1)[0][0] == ("new", "fast", "slow")
    assert len(found) > 1  # a little exploring


def test_the_best_comes_first_and_the_unjudged_last():
    routes = config(
        model("none", URL), model("good", URL, quality=0.8), model("best", URL, quality=0.9), strategy="quality"
    )
    assert order(ask(), routes) == ["best", "good", "none"]


def test_a_target_is_left_out_where_its_condition_does_not_hold():
    routes = config(
        TargetView(model("eyes", URL), conditions=({"field": "has_image", "is": True},)),
        TargetView(model("quick", URL), conditions=({"field": "complexity", "is": "simple"},)),
        model("all", URL),
    )
    hard = ask(text="Prove step by step why the algorithm terminates and analyse its complexity. " * 3)
    assert order(hard, routes) == ["all"]
    states = {line["model"]: (line["state"], line.get("why", "")) for line in hard.decision}
    assert states["eyes"] == ("left out", "is for has_image is true; here it is false")
    assert states["quick"][0] == "left out"
    assert states["quick"][1].startswith("is for complexity is simple; here it is hard (")
    assert order(ask(text="What is the capital of France?"), routes) == ["quick", "all"]


def test_a_call_that_no_target_takes_is_refused_with_the_reasons():
    routes = config(TargetView(model("tiny", URL), conditions=({"field": "context_tokens", "at_most": 5},)))
    with pytest.raises(Unsupported, match="tiny is for context_tokens at most 5; here it is 250"):
        choose(ask(text="word " * 200), routes)


def test_what_the_caller_prefers_comes_first_and_the_rest_stays():
    routes = config(model("a", URL), model("b", URL), model("c", URL))
    assert order(ask(prefer=("c", "b")), routes) == ["c", "b", "a"]


def test_a_model_asked_for_by_name_takes_the_list_as_its_fallbacks():
    routes = config(model("a", URL), model("b", URL))
    assert order(ask("a", prefer=("b",)), routes) == ["a", "b"]
    assert order(ask("a", prefer=("b", "a")), routes) == ["b", "a"]


def test_a_caller_prefers_only_what_its_key_may_call():
    routes = config(model("a", URL), model("b", URL))
    routes.models["secret"] = model("secret", URL)
    routes.routes["secret"] = config(routes.models["secret"]).routes["secret"]
    caller = Caller("w1", "acme", "k1", "web", models=frozenset({"chat"}))
    assert order(ask(prefer=("b",), caller=caller), routes) == ["b", "a"]  # within the route
    with pytest.raises(Forbidden):
        choose(ask(prefer=("secret",), caller=caller), routes)
    with pytest.raises(NotFound):
        choose(ask(prefer=("nothing",), caller=caller), routes)


def kept(**fields):
    """A call in the responses form that only a provider can serve that keeps its state."""
    call = ask()
    call.form, call.body = Responses(), {"model": "chat", "input": "hi", "previous_response_id": "r1", **fields}
    return call


def test_what_no_target_can_be_asked_is_refused_by_its_field_before_money_is_held():
    routes = config(model("a", URL, quirks={"forms": ["chat"]}))
    with pytest.raises(Unsupported) as refused:
        choose(kept(), routes)
    assert refused.value.param == "previous_response_id"


def test_a_target_that_speaks_the_form_is_taken_before_one_that_cannot_be_asked_this():
    routes = config(model("a", URL, quirks={"forms": ["chat"]}), model("b", URL, quirks={"forms": ["responses"]}))
    assert order(kept(), routes) == ["b"]


def test_a_field_may_be_dropped_on_the_way_to_another_form_but_not_what_was_said():
    routes = config(model("a", URL, quirks={"forms": ["chat"]}))
    call = kept(truncation="auto", previous_response_id=None)
    call.controls.drop_unsupported = True
    assert order(call, routes) == ["a"]
    assert "truncation" not in call.canonical()
    with pytest.raises(Unsupported):
        choose(kept(), routes)
    lasting = kept()
    lasting.controls.drop_unsupported = True
    with pytest.raises(Unsupported):
        choose(lasting, routes)
