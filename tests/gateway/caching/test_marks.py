"""The words that turn a question into another one although all else stays."""

import pytest

from gateway.caching.marks import are_opposed, fixed, sides


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What does error 429 mean?", "What does error 529 mean?"),
        ("Upgrade to version 2.4", "Upgrade to version 2.5"),
        ("Open on Saturday?", "Open on Sunday?"),
        ("The statement for May", "The statement for March"),
        ("What is covered?", "What is not covered?"),
        ("It works", "It doesn’t work"),
        ("Ist das enthalten?", "Ist das nicht enthalten?"),
    ],
)
def test_questions_with_other_numbers_days_or_denials_are_never_compared(one: str, other: str) -> None:
    assert fixed(one) != fixed(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I enable 2FA?", "How do I disable 2FA?"),
        ("Sort ascending, please", "Sort DESCENDING, please"),
        ("the flight to Cape Town", "the flight from Cape Town"),
        ("rand to euro", "rand to dollar"),
        ("Wie kann ich es öffnen?", "Wie kann ich es schließen?"),
    ],
)
def test_a_question_and_its_opposite_are_opposed_both_ways(one: str, other: str) -> None:
    assert fixed(one) == fixed(other)
    assert are_opposed(sides(one), sides(other))
    assert are_opposed(sides(other), sides(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset my password?", "I forgot my password, how can I change it?"),
        ("How do I turn it off?", "Can I stop it?"),
        ("How do I set up a debit order?", "I want to start a debit order"),
        ("The price is 1,5 %", "the price: 1.5 %?"),
        ("From A to B", "to B from A"),
        ("", ""),
    ],
)
def test_the_same_in_other_words_is_compared(one: str, other: str) -> None:
    assert fixed(one) == fixed(other)
    assert not are_opposed(sides(one), sides(other))
