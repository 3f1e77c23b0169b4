"""How the pages of records write what records hold."""

from audit.templatetags.records import lines


def test_what_a_guardrail_found_stands_on_its_line_kind_by_kind() -> None:
    entries = [
        {"kind": "secrets", "on": "input", "found": {"AWS key": 1, "GitHub token": 2}, "verdict": "flagged"},
        "as it is",
    ]
    assert lines(entries) == "kind: secrets, on: input, found: AWS key 1; GitHub token 2, verdict: flagged\nas it is"
