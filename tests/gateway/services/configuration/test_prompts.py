"""Rules of channels, and webhooks, as code: applied, exported, pruned, and told when they are wrong."""

import pytest

from gateway.services.configuration.exporting import export_configuration
from prompts.models import Channel, Webhook

SECRETS = {"HOOK_SECRET": "hook-secret-0009"}
RULES = """
    channels:
      - {name: production, protected: true, required_approvals: 2, required_suites: [summary-golden], publishers: [pam, ann]}
      - {name: staging, reviewers: [bob]}
    webhooks:
      - {url: "http://127.0.0.1:9109/prompts", events: [prompt.published, prompt.rolled_back], secret: {env: HOOK_SECRET}}
      - {url: "https://hooks.acme.example/all", enabled: false}
"""


@pytest.fixture
def ruled(applied):
    """The contract's configuration with rules of channels and webhooks."""
    applied.environment |= SECRETS
    applied.text = applied.text.rstrip("\n") + RULES
    return applied


def test_rules_and_webhooks_are_planned_then_made_then_left_alone(ruled):
    plan = [
        "+ channel rules acme/production",
        "+ channel rules acme/staging",
        "+ webhook acme/http://127.0.0.1:9109/prompts",
        "+ webhook acme/https://hooks.acme.example/all",
    ]
    assert ruled.lines(dry_run=True) == plan
    assert (Channel.objects.count(), Webhook.objects.count()) == (0, 0)
    assert ruled.lines() == plan
    assert ruled.lines() == ["nothing to change"]
    production = Channel.objects.get(name="production")
    assert (production.is_protected, production.required_approvals) == (True, 2)
    assert (production.required_suites, production.publishers) == (["summary-golden"], ["ann", "pam"])
    signed, plain = Webhook.objects.order_by("url")
    assert (bool(signed.sealed), plain.sealed, plain.is_enabled) == (True, None, False)
    assert b"hook-secret" not in bytes(signed.sealed)


def test_their_export_applies_as_an_empty_plan_and_holds_no_secret(ruled):
    ruled.apply()
    text = export_configuration()
    assert ruled.lines(text, prune=True) == ["nothing to change"]
    assert "hook-secret" not in text
    assert "# secret: {env: ACME_WEBHOOK_SECRET}" in text


def test_what_changes_is_told_field_by_field_and_a_secret_without_its_value(ruled):
    ruled.apply()
    ruled.environment["HOOK_SECRET"] = "another-secret-0010"
    ruled.replace("required_approvals: 2, ", "").replace("[pam, ann]", "[ann, pam]").replace("[bob]", "[bob, eve]")
    assert ruled.lines() == [
        "~ channel rules acme/production: required_approvals 2 -> 1",
        "~ channel rules acme/staging: reviewers ['bob'] -> ['bob', 'eve']",
        "~ webhook acme/http://127.0.0.1:9109/prompts: secret replaced",
    ]
    assert ruled.lines() == ["nothing to change"]


def test_what_the_file_does_not_name_stays_unless_it_is_pruned(ruled):
    ruled.apply()
    text = "version: 1\nworkspaces: [{name: acme, channels: [{name: staging, reviewers: [bob]}], webhooks: []}]\n"
    assert ruled.lines(text) == ["nothing to change"]
    assert ruled.lines(text, prune=True) == [
        "- webhook acme/http://127.0.0.1:9109/prompts",
        "- webhook acme/https://hooks.acme.example/all",
        "- channel rules acme/production",
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "[summary-golden], p",
            "[sumary-golden], p",
            "there is no suite 'sumary-golden'; did you mean 'summary-golden'?",
        ),
        ("required_approvals: 2", "required_approvals: 9", "required_approvals"),
        ("prompt.rolled_back", "prompt.rolledback", "did you mean 'prompt.rolled_back'"),
        ("https://hooks.acme.example/all", "http://169.254.169.254/x", "url"),
        ("name: staging, reviewers", "name: production, reviewers", "production"),
        ("reviewers: [bob]", "reviwers: [bob]", "reviwers"),
    ],
)
def test_what_is_wrong_names_its_place_and_nothing_is_changed(ruled, old, new, told):
    [problem] = ruled.replace(old, new).problems()
    assert told in problem
    assert Channel.objects.count() == 0


def test_a_suite_that_a_channel_requires_is_not_pruned_away(ruled):
    ruled.apply()
    [problem] = ruled.problems("version: 1\nworkspaces: [{name: acme, suites: []}]\n", prune=True)
    assert "--prune would remove suite 'summary-golden', which channel rules acme/production still uses" in problem


def test_a_protected_channel_is_not_moved_by_a_file(ruled):
    ruled.apply()
    ruled.replace("channels: {production: 1, staging: 2}", "channels: {production: 2, staging: 2}")
    [problem] = ruled.problems()
    assert "Only ann, pam may change what production serves." in problem
    Channel.objects.get(name="production").delete()
    ruled.replace(", publishers: [pam, ann]", "").replace("production: 2, staging", "production: 1, staging").apply()
    [problem] = ruled.replace("production: 1, staging", "production: 2, staging").problems()
    assert "production is protected: summary@2 needs 2 more approvals" in problem
    assert "production requires the suite summary-golden to pass for summary@2" in problem
