"""A gate that fails closed, and intervals that hold."""

import random

import pytest

from evals.gate import Answered, Scored, decide, difference, wilson

PASS, FAIL, ERROR = (
    Scored("contains", "pass"),
    Scored("contains", "fail", reason="It lacks 'cat'."),
    Scored("judge", "error"),
)


def verdict(*outputs, wanted=None, repeat=1, gate=None, baseline=None):
    if wanted is None:
        wanted = {each.case: len(each.scored) for each in outputs}
    return decide(wanted, repeat, outputs, gate or {}, baseline)


def test_all_that_is_asked_for_holds():
    said = verdict(Answered("a", 1, [PASS, PASS]), Answered("b", 1, [PASS]))
    assert (said.verdict, said.exit_code, said.figures["pass_rate"]) == ("passed", 0, 1.0)


@pytest.mark.parametrize(
    ("outputs", "wanted", "why"),
    [
        ([Answered("a", 1, [PASS])], {"a": 1, "b": 1}, "b was not asked."),
        ([Answered("a", 1, [PASS]), Answered("a", 1, [PASS])], {"a": 1}, "a stands there twice."),
        ([Answered("a", 1, [PASS]), Answered("x", 1, [PASS])], {"a": 1}, "x is no case of the suite."),
        ([Answered("a", 1, [PASS])], {"a": 2}, "a has 1 of 2 scores."),
        ([Answered("a", 1, [PASS, ERROR])], {"a": 2}, "a: judge is undecided."),
        ([Answered("a", 1)], {"a": 0}, "a has no assertions."),
        (
            [Answered("a", 1, [PASS]), Answered("b", 1, code="timeout", error="late")],
            {"a": 1, "b": 1},
            "b has no answer: late",
        ),
        ([], {}, "The suite has no cases."),
    ],
)
def test_what_is_not_whole_never_passes(outputs, wanted, why):
    said = verdict(*outputs, wanted=wanted, gate={"min_pass_rate": 0.0})
    assert (said.verdict, said.exit_code) == ("incomplete", 4)
    assert why in " ".join(said.reasons)


def test_a_repeat_that_is_missing_makes_it_incomplete():
    assert verdict(Answered("a", 1, [PASS]), wanted={"a": 1}, repeat=2).exit_code == 4


def test_where_nothing_could_be_asked_it_is_the_infrastructure():
    said = verdict(Answered("a", 1, code="all_targets_failed", error="down"), wanted={"a": 1})
    assert (said.exit_code, said.reasons) == (3, ["a: down"])


def test_a_cost_cap_has_its_own_exit():
    said = verdict(Answered("a", 1, [PASS]), Answered("b", 1, code="budget_exceeded"), wanted={"a": 1, "b": 1})
    assert said.exit_code == 5


def test_a_critical_assertion_fails_the_gate_in_any_repeat_whatever_the_rate():
    critical = Scored("contains", "fail", critical=True, reason="It lacks 'cat'.")
    outputs = [Answered("a", time, [critical if time == 3 else PASS]) for time in (1, 2, 3)]
    said = verdict(*outputs, wanted={"a": 1}, repeat=3, gate={"min_pass_rate": 0.0})
    assert (said.exit_code, said.reasons) == (1, ["a: the critical contains fails. It lacks 'cat'."])


def test_the_share_is_of_assertions_by_their_weight():
    outputs = [Answered("a", 1, [Scored("contains", "pass", weight=3.0), FAIL])]
    assert verdict(*outputs, gate={"min_pass_rate": 0.75}).exit_code == 0
    said = verdict(*outputs, gate={"min_pass_rate": 0.76})
    assert (said.exit_code, said.reasons[0]) == (1, "75.0% of the assertions hold; the suite asks for 76.0%.")


def test_a_case_that_passed_in_the_baseline_and_fails_now_fails_the_gate():
    outputs = [Answered("a", 1, [FAIL]), Answered("b", 1, [PASS])]
    gate = {"min_pass_rate": 0.0}
    assert verdict(*outputs, gate=gate, baseline={"a": True, "b": True}).exit_code == 1
    assert verdict(*outputs, gate=gate, baseline={"a": False, "b": False}).exit_code == 0


def test_too_few_cases_to_know_whether_it_is_worse_is_inconclusive():
    few = [Answered(str(at), 1, [PASS]) for at in range(3)]
    many = [Answered(str(at), 1, [PASS]) for at in range(200)]
    gate = {"max_drop": 0.05}
    assert verdict(*few, gate=gate, baseline={each.case: True for each in few}).exit_code == 6
    assert verdict(*many, gate=gate, baseline={each.case: True for each in many}).exit_code == 0
    assert verdict(*few, gate=gate).exit_code == 0  # without a baseline there is nothing to be worse than


def test_wilsons_interval_is_the_books():
    assert [round(each, 4) for each in wilson(81, 263)] == [0.2553, 0.3662]  # Newcombe 1998, his first example
    assert wilson(0, 0) == (0.0, 1.0)


def test_newcombes_paired_interval_is_the_books():
    """Newcombe 1998, Statistics in Medicine 17:2635, table II: (36, 12, 2, 0) of 50."""
    pairs = [(True, True)] * 36 + [(False, True)] * 12 + [(True, False)] * 2
    found = difference(pairs)
    assert [round(each, 4) for each in (found["difference"], *found["interval"])] == [0.2, 0.0569, 0.3404]


@pytest.mark.parametrize("n", [20, 50, 100, 200])
def test_the_paired_interval_covers_the_truth(n):
    chance = random.Random(n)
    covered = 0
    for _ in range(1000):
        pairs = []
        for _ in range(n):
            before = chance.random() < 0.85
            pairs.append((before, before if chance.random() < 0.8 else chance.random() < 0.7))
        low, high = difference(pairs)["interval"]
        covered += low <= (0.85 * 0.8 + 0.2 * 0.7) - 0.85 <= high
    assert covered >= 930
