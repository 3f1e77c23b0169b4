"""All detectors behind one prefilter."""

import string

import pytest

from evals.guardrails.patterns import BadPattern
from gateway.redaction.finder import KINDS, PERSONAL, Finder, Rules, finder
from tests.gateway.redaction.sample import ZA_ID

ALL = Finder(Rules(KINDS))


def found(text: str, field: str = "", rules: Rules | None = None) -> list[tuple[str, str]]:
    looked = ALL if rules is None else finder(rules)
    return [(span.kind, text[span.start : span.end]) for span in looked.find(text, field)]


def test_every_kind_is_found_in_one_text() -> None:
    text = (
        f"My name is Thabo Mokoena, ID {ZA_ID}. Call 082 123 4567 or mail thabo@example.co.za. Pay 4111 1111 1111 1111 or "
        "DE89 3704 0044 0532 0130 00 from 41.13.22.8 with sk-proj-abcDEF1234567890abcdEFGH."
    )
    assert found(text) == [
        ("person", "Thabo Mokoena"),
        ("id_number", ZA_ID),
        ("phone", "082 123 4567"),
        ("email", "thabo@example.co.za"),
        ("credit_card", "4111 1111 1111 1111"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("ip_address", "41.13.22.8"),
        ("secret", "sk-proj-abcDEF1234567890abcdEFGH"),
    ]


@pytest.mark.parametrize("kind", sorted(PERSONAL))
def test_a_kind_alone_finds_nothing_of_the_others(kind: str) -> None:
    text = (
        f"Frau Sabine Krüger, ID {ZA_ID}, Tel. 030 12345678, s@example.de, Karte 5555 5555 5555 4444, "
        "GB82 WEST 1234 5698 7654 32, 2001:db8::8a2e:370:7334"
    )
    assert {kind for kind, _ in found(text, rules=Rules(frozenset({kind})))} == {kind}


@pytest.mark.parametrize(
    "written", ["８００１０１５００９０８７", "800101\u20115009\u2011087", "8001\u200b015009087", "٨٠٠١٠١٥٠٠٩٠٨٧"]
)
def test_digits_written_in_another_way_are_found_and_masked_as_they_stand(written: str) -> None:
    assert found(f"ID {written} please") == [("id_number", written)]


def test_of_two_findings_that_overlap_the_surer_stands_over_both() -> None:
    assert found("password: thabo@acme.co.za1!") == [("secret", "thabo@acme.co.za1!")]


def test_a_workspace_masks_its_own_patterns_words_and_names_and_spares_what_it_allows() -> None:
    rules = Rules(
        frozenset({"custom", "person", "email"}),
        patterns=(("claim", r"CLM-[0-9]{6}"),),
        words=("Project Halberd",),
        names=("Xyqo Brrm",),
        allow=("help@acme.example",),
    )
    text = (
        "CLM-123456 of PROJECT HALBERD by Xyqo Brrm: help@acme.example, jo@acme.example, halberds, reproject halberdier"
    )
    assert found(text, rules=rules) == [
        ("custom", "CLM-123456"),
        ("custom", "PROJECT HALBERD"),
        ("person", "Xyqo Brrm"),
        ("email", "jo@acme.example"),
    ]


@pytest.mark.parametrize("pattern", ["(a", r"(\w+)\1", "(?=x)", "x*", "", "a" * 1001, "(a{1000}){1000}"])
def test_a_pattern_that_could_run_long_or_match_everywhere_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        Finder(Rules(frozenset({"custom"}), patterns=(("p", pattern),)))


def test_the_name_of_a_field_says_what_its_value_is() -> None:
    assert found("Xolisile", "first_name") == [("person", "Xolisile")]
    assert found("0123456789", "phone") == [("phone", "0123456789")]
    assert found("0123456789", "order") == []


def test_a_value_across_the_seam_of_a_long_text_is_found_whole() -> None:
    address = "someone.with.a.long.name@example.co.za"
    for shift in range(-40, 5):
        text = "x " * ((16_384 + shift) // 2) + address + " y" * 40_000
        assert found(text) == [("email", address)]


@pytest.mark.parametrize("character", [*string.ascii_letters, *string.digits, *"@.-+( :/<é中"])
def test_a_hundred_kilobytes_of_one_character_hold_nothing(character: str) -> None:
    assert found(character * 100_000) == []


@pytest.mark.parametrize("unit", ["12 ", "45 ", "1.1 ", "0/0/", "a@b.", "12345678:AA", "-----BEGIN PRIVATE KEY--\n"])
def test_a_hundred_kilobytes_of_a_nearly_fitting_pattern_hold_nothing(unit: str) -> None:
    text = unit * (100_000 // len(unit)) + "."
    assert found(text) == []


def test_a_private_key_is_masked_to_its_end_or_to_where_the_text_was_cut() -> None:
    begin, end = "-----BEGIN EC PRIVATE KEY-----", "-----END EC PRIVATE KEY-----"
    key = f"{begin}\nMHcCAQEEIIr\n{end}"
    assert found(f"first {key} then {key}.") == [("secret", key), ("secret", key)]
    assert found(f"cut: {begin}\nMHcCAQEE") == [("secret", f"{begin}\nMHcCAQEE")]
    assert found(f"{end} nothing begins") == []
    assert found(f"{begin}\n" + "MHcC\n" * 2_000 + end) == []  # no key is as long as that
    for shift in range(0, 3_000, 700):
        long = f"{begin}\n" + "MHcCAQEEIIr/\n" * 200 + end
        assert found("x " * ((14_000 + shift) // 2) + long + " y" * 9_000) == [("secret", long)]


@pytest.mark.parametrize(
    "table",
    ["12 34 56 78 90 12 34 56 78 90", "1 2 3 4 5 6 7 8 9 10 11 12", "99 98 97 96 95 94 93 92", "2024 2025 2026 2027"],
)
def test_a_table_of_small_numbers_holds_nothing_and_hides_nothing(table: str) -> None:
    assert found(table) == []
    assert found(f"{table}\n082 123 4567") == [("phone", "082 123 4567")]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Mr. A. Smith came", "A. Smith"),
        ("Dr J.P. van der Merwe came", "J.P. van der Merwe"),
        ("said Dr van der Merwe", "van der Merwe"),
        ("Thabo A. B. Mokoena came", "Thabo A. B. Mokoena"),
        ("Prof. Ann-Marie O'Brien came", "Ann-Marie O'Brien"),
    ],
)
def test_initials_and_particles_belong_to_a_name(text: str, name: str) -> None:
    assert [text[span.start : span.end] for span in ALL.find(text)] == [name]
