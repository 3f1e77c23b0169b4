"""What a field may hold, and what is said when it holds something else."""

import pytest

from gateway.services.configuration.document import Problems, read_document
from gateway.services.configuration.kinds import (
    BAD,
    Choice,
    Flag,
    Free,
    Moment,
    Money,
    Name,
    Network,
    Number,
    Reading,
    Secret,
    SecretText,
    Text,
    TimeZone,
    Whole,
)

MOMENT = "write a moment like 2027-01-31T18:00:00Z or a day like 2027-01-31"
ENVIRONMENT = {"HERE": "a value of sixteen", "EMPTY": ""}


def read(kind, text):
    """The value that the kind reads from this YAML, and the messages."""
    node, problems = read_document(text, "f.yaml")
    value = kind.read(node, Reading(problems, ENVIRONMENT))
    return value, [problem.message for problem in problems.found]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Text(), "plain", "plain"),
        (Text(), "{env: HERE}", "a value of sixteen"),
        (Name(), "Zürich (old)", "Zürich (old)"),
        (Choice(("off", "exact")), "off", "off"),
        (Whole(), "1_000", 1000),
        (Number(), "1", 1.0),
        (Number(places=2), "0.25", 0.25),
        (Flag(), "true", True),
        (Money(), "'0.150'", "0.15"),
        (Money(), '"500.00"', "500"),
        (Money(), '"0.000000001"', "0.000000001"),
        (Moment(), "2027-01-31", "2027-01-31T00:00:00Z"),
        (Moment(), "2027-01-31T18:00:00+02:00", "2027-01-31T16:00:00Z"),
        (Moment(), "2027-01-31T18:00:00.5Z", "2027-01-31T18:00:00Z"),
        (TimeZone(), "Africa/Johannesburg", "Africa/Johannesburg"),
        (Network(), "10.1.2.3", "10.1.2.3"),
        (Network(), "10.1.2.3/32", "10.1.2.3"),
        (Network(), "2001:DB8::/32", "2001:db8::/32"),
        (Free(), "{a: [1, {b: ~}]}", {"a": [1, {"b": None}]}),
    ],
)
def test_a_good_value_is_read_into_its_canonical_form(kind, text, value):
    assert read(kind, text) == (value, [])


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Text(), "12", "must be text, not a whole number; put it in quotes"),
        (Text(), "[a]", "must be text, not a list"),
        (Text(longest=3), "four", "is 4 characters long; at most 3 fit"),
        (Text(shortest=1), "''", "must not be empty"),
        (Text(), "{env: GONE}", "the environment variable GONE is not set"),
        (Text(), "{env: EMPTY}", "the environment variable EMPTY is empty"),
        (Name(), "' a'", "' a' won't do: a name has no control characters, and no spaces at its ends"),
        (
            Choice(("off", "exact", "semantic")),
            "exakt",
            "'exakt' is none of off, exact or semantic; did you mean 'exact'?",
        ),
        (Choice(("off", "exact")), "true", "True is none of off or exact"),
        (Choice(("off", "exact")), "[]", "'a list' is none of off or exact"),
        (Whole(), "1.0", "must be a whole number, not a number"),
        (Whole(), "true", "must be a whole number, not true or false"),
        (Whole(least=1, most=5), "6", "6 is out of range: from 1 to 5"),
        (Number(), "1.5", "1.5 is out of range: from 0 to 1"),
        (Number(places=3), "0.12345", "0.12345 has more than 3 decimals"),
        (Number(), "'0.5'", "must be a number, not text"),
        (Flag(), "yes", "must be true or false, not text"),
        (Money(), "0.15", 'money is written in quotes, like "0.15": a bare number would lose cents'),
        (Money(), "5", 'money is written in quotes, like "5": a bare number would lose cents'),
        (Money(), "'-1'", "'-1' is no amount of dollars; write one like \"0.15\", without a sign"),
        (Money(), "'1e3'", "'1e3' is no amount of dollars; write one like \"0.15\", without a sign"),
        (Money(), "'0.0000000001'", "'0.0000000001' is no amount of dollars; write one like \"0.15\", without a sign"),
        (Money(most="10"), "'11'", '"11" is out of range: from "0" to "10" dollars'),
        (Money(), "true", "must be an amount of dollars in quotes, not true or false"),
        (Moment(), "soon", f"'soon' is no moment; {MOMENT}"),
        (Moment(), "2027-02-30", f"'2027-02-30' is no moment; {MOMENT}"),
        (Moment(), "2027-01-31T18:00", f"'2027-01-31T18:00' has no time zone; {MOMENT}"),
        (
            TimeZone(),
            "Africa/Johanesburg",
            "'Africa/Johanesburg' is not a time zone; write one like Africa/Johannesburg; "
            "did you mean 'Africa/Johannesburg'?",
        ),
        (
            Network(),
            "10.0.0.1/8",
            "10.0.0.1/8 has host bits set; write an address like 10.1.2.3 or a network like 10.1.0.0/16",
        ),
        (Free(), "[]", "must be a mapping, not a list"),
    ],
)
def test_a_bad_value_is_named_for_what_it_is(kind, text, message):
    assert read(kind, text) == (BAD, [message])


def test_a_secret_is_never_part_of_a_message_or_a_repr():
    kind = SecretText(shortest=16)

    assert read(kind, "{env: HERE}") == (Secret("a value of sixteen"), [])
    assert repr(Secret("a value of sixteen")) == "Secret()"
    assert read(kind, "hunter2") == (BAD, ["is too short: a secret here needs 16 characters or more"])
    assert read(kind, "'sixteen letters \n'") == (BAD, ["has spaces or line ends around it; take them away"])


def test_the_same_problem_is_told_once():
    node, _ = read_document("x", "f.yaml")
    problems = Problems("f.yaml")
    problems.add(node, "wrong")
    problems.add(node, "wrong")

    assert [str(problem) for problem in problems.found] == ["f.yaml:1:1: wrong"]
