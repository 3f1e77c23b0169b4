"""Numbers told apart: cards, identity numbers, telephones, and what is none of them."""

import random

import pytest
from stdnum import luhn

from gateway.redaction.finder import KINDS, Finder, Rules

FINDER = Finder(Rules(KINDS))


def kinds(text: str) -> list[str]:
    return [span.kind for span in FINDER.find(text)]


def test_of_random_numbers_of_thirteen_digits_hardly_any_is_taken_for_a_south_african_id() -> None:
    chance = random.Random(13)
    taken = sum("id_number" in kinds(f"{chance.randrange(10**13):013d}") for _ in range(20_000))
    assert taken <= 20_000 * 0.0003


def test_every_south_african_id_is_found_in_four_ways_of_writing_it() -> None:
    chance = random.Random(1)
    for _ in range(100):
        birth = f"{chance.randrange(100):02d}{chance.randrange(1, 13):02d}{chance.randrange(1, 29):02d}"
        body = f"{birth}{chance.randrange(10_000):04d}{chance.choice('01')}8"
        number = body + luhn.calc_check_digit(body)
        a, b, c, d = number[:6], number[6:10], number[10:12], number[12]
        for written in (number, f"{a} {b} {c}{d}", f"{a}-{b}-{c}{d}", f"{a} {b} {c} {d}"):
            assert kinds(f"It is {written} indeed") == ["id_number"], written


@pytest.mark.parametrize("number", ["082 123 4567", "0821234567", "+27821234567", "071 234 5678", "(011) 884-1234"])
def test_a_south_african_telephone_number_is_never_taken_for_a_tax_number_without_a_word_for_it(number: str) -> None:
    assert kinds(f"the number {number} is ours") == ["phone"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("My NHS number is 943 476 5919", "id_number"),
        ("SARS income tax number 0001339050", "id_number"),
        ("DNI 54362315K", "id_number"),
        ("codice fiscale RCCMNL83S18D969H", "id_number"),
        ("Sozialversicherungsnummer 15 070649 C 103", "id_number"),
        ("CPF 390.533.447-05", "id_number"),
        ("AHV 756.9217.0769.85", "id_number"),
        ("BSN 111222333", "id_number"),
        ("110300198001011237", "id_number"),  # of a county that stdnum's tables leave out
        ("order 20931 of 14 May, PO 20931, room 123 456", ""),
        ("PESEL 44051401458", "id_number"),
        ("Aadhaar 2341 2341 2346", "id_number"),
        ("passport A12345678", "id_number"),
        ("NINO QQ123456C or AB123456C", "id_number"),
        ("call 0123456789", "phone"),
        ("order 0123456789", ""),
        ("Amex 3714 496353 98431", "credit_card"),
        ("5105-1051-0510-5100", "credit_card"),
        ("4111 1111 1111 1112", ""),
        ("GB82 WEST 1234 5698 7654 32 and more", "iban"),
        ("gb82west12345698765432", "iban"),
        ("GB82 WEST 1234 5698 7654 33", ""),
        ("on 2024-01-15 at 10:30", ""),
        ("+1 (555) 010-9999", "phone"),
        ("+33 6 12 34 56 78", "phone"),
    ],
)
def test_a_number_is_what_its_digits_and_the_words_before_it_say(text: str, kind: str) -> None:
    assert kinds(text) == ([kind] if kind else [])


def test_two_numbers_that_only_a_space_parts_are_two() -> None:
    assert kinds("082 123 4567 083 765 4321") == ["phone", "phone"]


def test_account_numbers_are_found_side_by_side_and_in_letters_of_any_case() -> None:
    first, second = "NO93 8601 1117 947", "GB82 WEST 1234 5698 7654 32"
    for text in (f"{first} {second}", f"{second} {first}", f"{first} {first.lower()} {second}"):
        assert kinds(text) == ["iban"] * text.lower().count("no93") + ["iban"] * text.count("GB82"), text
