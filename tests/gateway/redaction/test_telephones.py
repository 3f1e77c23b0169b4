"""Numbering plans as patterns, against the library whose plans they are."""

import random

import phonenumbers

from gateway.redaction.detectors.telephones import ABROAD, HOME, dialled, is_possible, is_valid
from gateway.redaction.finder import Finder, Rules


def valid(digits: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(digits, region))
    except phonenumbers.NumberParseException:
        return False


def numbers(count: int) -> list[str]:
    chance = random.Random(27)
    lead = ("0", "08", "07", "01", "0", "2", "")
    return [
        chance.choice(lead) + "".join(chance.choice("0123456789") for _ in range(chance.randrange(7, 11)))
        for _ in range(count)
    ]


def test_what_is_dialled_at_home_is_told_as_the_library_tells_it() -> None:
    told = [(number, dialled(number)) for number in numbers(1_500) if not number.startswith("00")]
    wrong = [
        (number, seen)
        for number, seen in told
        if seen != tuple(any(valid(number, region) for region in group) for group in (HOME, ABROAD))
    ]
    assert len(wrong) <= len(told) * 0.01, wrong  # trunk prefixes that are dialled twice


def test_international_numbers_are_told_as_the_library_tells_them() -> None:
    chance = random.Random(44)
    wrong = []
    for rest in numbers(1_500):
        number = chance.choice(("27", "44", "1", "49", "39", "264", "7", "999")) + rest.lstrip("0")
        try:
            possible = phonenumbers.is_possible_number(phonenumbers.parse(f"+{number}", None))
        except phonenumbers.NumberParseException:
            possible = False
        if (is_possible(number), is_valid(number)) != (possible, valid(f"+{number}", None)):
            wrong.append(number)
    assert len(wrong) <= 5, wrong


def test_no_number_stays_in_memory_after_it_was_looked_at() -> None:
    """A cache by the number would be a list of the callers' telephones."""
    Finder(Rules(frozenset({"phone"}))).find("call +27 82 345 6789 or 082 345 6789")
    cached = [
        value
        for module in ("telephones", "contact", "numbers", "identities", "payment")
        for value in vars(__import__(f"gateway.redaction.detectors.{module}", fromlist=["x"])).values()
        if hasattr(value, "cache_info") and value.cache_info().currsize > 0
    ]
    assert [each.__name__ for each in cached] in ([], ["_lengths"])  # which knows calling codes only
