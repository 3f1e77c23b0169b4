"""Conditions as data: what is right, what is wrong, and what they mean."""

import pytest

from gateway.core.conditions import predicate, problems, told
from gateway.core.route_options import route_problems, target_problems


@pytest.mark.parametrize(
    ("condition", "passes", "fails"),
    [
        ({"field": "has_image", "is": True}, True, False),
        ({"field": "has_tools", "is": False}, False, True),
        ({"field": "context_tokens", "at_most": 100}, 100, 101),
        ({"field": "context_tokens", "at_least": 10, "at_most": 20}, 15, 21),
        ({"field": "complexity", "at_least": "moderate"}, "hard", "simple"),
        ({"field": "complexity", "one_of": ["simple", "hard"]}, "simple", "moderate"),
        ({"field": "key", "is": "web"}, ("web",), ("batch",)),
        ({"field": "tag", "one_of": ["a", "b"]}, ("x", "b"), ("x",)),
        ({"field": "metadata.plan", "is_not": "free"}, (), ("free",)),
        ({"field": "metadata.level", "is": 5}, ("5",), ("6",)),
        ({"field": "user", "none_of": ["u1", "u2"]}, ("u3",), ("u2",)),
    ],
)
def test_a_condition_tells_calls_apart(condition, passes, fails):
    assert problems([condition]) == []
    _, holds = predicate(condition)
    assert (holds(passes), holds(fails)) == (True, False)


@pytest.mark.parametrize(
    ("conditions", "problem"),
    [
        ("no list", "must be a list of conditions"),
        (["x"], '[0] must be an object such as {"field": "has_image", "is": true}'),
        ([{"field": "has_image"}], "[0] needs a comparison: is"),
        ([{"field": "has_image", "at_least": 1}], "[0].at_least is no comparison for has_image; there are is"),
        ([{"field": "has_image", "is": "yes"}], "[0].is must be true or false; it is 'yes'"),
        ([{"field": "messages", "at_most": -1}], "[0].at_most must be a whole number, 0 or more; it is -1"),
        ([{"field": "complexity", "is": "wild"}], "[0].is must be simple, moderate or hard; it is 'wild'"),
        ([{"field": "key", "one_of": "web"}], "[0].one_of must be a list; it is 'web'"),
    ],
)
def test_a_wrong_condition_is_named_with_its_place(conditions, problem):
    assert problems(conditions) == [problem]


def test_an_unknown_field_is_answered_with_those_that_there_are():
    [problem] = problems([{"field": "mood", "is": "good"}])
    assert problem.startswith("[0].field must be one of has_image, ")
    assert problem.endswith("or metadata.NAME; it is 'mood'")


def test_a_condition_reads_as_words():
    assert told({"field": "context_tokens", "at_least": 10, "at_most": 20}) == (
        "context_tokens at least 10 and at most 20"
    )


def test_options_of_routes_and_targets_are_checked():
    assert route_problems({"timeout_s": 5}) == []
    assert route_problems({"timeout_s": 0}) == [".timeout_s must be a number of seconds, above 0 and at most 86400"]
    assert route_problems({"colour": 1}) == [".colour is no setting here; there are timeout_s, hedge_after_s"]
    assert route_problems({"hedge_after_s": "soon", "continue": "perhaps"}) == [
        ".hedge_after_s must be a number of seconds, above 0 and at most 86400",
        ".continue must be true or false",
    ]
    assert route_problems({"hedge_after_s": 0.5, "continue": True}) == []
    assert route_problems([]) == [" must be an object"]
    assert target_problems({"idle_timeout_s": True}) == [
        ".idle_timeout_s must be a number of seconds, above 0 and at most 86400"
    ]
