"""The matrix, and the page that explains it."""

from pathlib import Path

import pytest

from tenants.models import Member
from tenants.roles import MATRIX, Access

ROOT = Path(__file__).resolve().parents[2]
# The table's row → (area, verb that "change" or "yes" stands for)
LINES = {
    "workspace settings, teams, redaction, guardrails": ("workspace", "change"),
    "members": ("members", "change"),
    "API keys, rate limits": ("keys", "change"),
    "budgets, alert channels": ("money", "change"),
    "prompts": ("prompts", "change"),
    "pointing a channel at a version": ("prompts", "publish"),
    "approving a version": ("prompts", "review"),
    "suites": ("evals", "change"),
    "calls: who, when, what it cost": ("calls", "change"),
    "bodies of calls: what was said": ("bodies", "change"),
    "changes of the configuration": ("changes", "change"),
    "models, routes, prices": ("catalogue", "change"),
    "providers, credentials, users, schedules": ("platform", "change"),
}


def test_the_page_says_what_the_matrix_does() -> None:
    table = [line for line in (ROOT / "docs/roles.md").read_text().splitlines() if line.startswith("|")]
    roles = [cell.strip() for cell in table[0].strip("|").split("|")][1:]
    said = {}
    for line in table[2:]:
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        area, verb = LINES[name]
        for role, cell in zip(roles, cells, strict=True):
            strong = cell.startswith("change") or cell == "yes"
            said[name, role] = (strong, strong or cell == "see")
    does = {}
    for name, (area, verb) in LINES.items():
        for role in roles:
            verbs = MATRIX[role].get(area, frozenset())
            seen = "view" in verbs if verb == "change" else verb in verbs
            does[name, role] = (verb in verbs, seen)

    assert said == does


def test_every_role_of_a_member_is_in_the_matrix() -> None:
    assert set(MATRIX) == set(Member.Role.values)


def test_a_role_holds_in_its_own_workspace_only() -> None:
    access = Access(roles={1: "owner", 2: "viewer"})

    assert access.may("change", "keys", 1) is True
    assert access.may("change", "keys", 2) is False
    assert access.may("view", "keys", 3) is False
    assert access.may("change", "keys") is True
    assert access.workspace_ids("change", "keys") == {1}
    assert access.workspace_ids("view", "keys") == {1, 2}


def test_superusers_stand_above_and_strangers_outside() -> None:
    root, stranger = Access(everywhere=True), Access()

    assert (root.may("change", "platform"), root.workspace_ids("view", "bodies"), root.is_member) == (True, None, True)
    assert (stranger.may("view", "catalogue"), stranger.workspace_ids("view", "keys")) == (False, frozenset())
    assert stranger.is_member is False


@pytest.mark.parametrize("role", ["nobody", ""])
def test_an_unknown_role_may_nothing(role: str) -> None:
    assert Access(roles={1: role}).may("view", "catalogue", 1) is False
