"""What is exported applies as an empty plan, holds no secret, and makes the same configuration elsewhere."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from budgets.models import AlertChannel, Budget, Price
from evals.models import Case, Guardrail, Suite
from gateway.models import Credential, Provider, RedactionPolicy, Route, RouteTarget, ServedModel
from gateway.services.configuration.applying import SHAPES, current_items
from gateway.services.configuration.exporting import export_configuration
from prompts import append_only
from prompts.models import Prompt
from prompts.services.publishing import Words, point_channel, save_version
from tenants.models import RateLimit, Team, Workspace
from tenants.services.keys import KeyTerms, issue_key, revoke_key

AWKWARD = [
    "off",
    "08",
    "1_000",
    "12:30",
    "2027-01-01",
    "~",
    "null",
    "<<",
    "true",
    "0.50",
    "= x",
    "a: b",
    "#no",
    "'q'",
    "-",
]


def facts():
    """Everything but the secrets."""
    return {key: (item.fields, item.position) for key, item in current_items().items()}


def test_an_export_applies_as_an_empty_plan(applied):
    text = export_configuration()

    assert applied.lines(text) == ["nothing to change"]
    assert applied.lines(text, prune=True) == ["nothing to change"]


def test_an_export_is_the_same_each_time_and_holds_no_secret(applied):
    text = export_configuration()

    assert export_configuration() == text
    assert [secret for secret in applied.environment.values() if secret in text] == []
    assert [line.strip() for line in text.splitlines() if "secret:" in line] == [
        "# secret: {env: ANTHROPIC_MAIN_SECRET}",
        "# secret: {env: BEDROCK_MAIN_SECRET}",
        "# secret: {env: GEMINI_MAIN_SECRET}",
        "# secret: {env: OPENAI_MAIN_SECRET}",
        "# secret: {env: OPENAI_SPARE_SECRET}",
        "# secret: {env: ACME_ALERT_SECRET}",
    ]


def test_one_workspace_can_be_exported_alone(applied):
    Workspace.objects.create(name="other")

    text = export_configuration(workspace="acme")

    assert [line for line in text.splitlines() if line.startswith(("providers", "  - name"))] == ["  - name: acme"]
    assert applied.lines(text, prune=True) == ["- workspace other (switched off)"]
    with pytest.raises(LookupError, match="there is no workspace 'nobody'"):
        export_configuration(workspace="nobody")


def test_on_a_fresh_database_an_export_with_its_secrets_makes_the_same(applied):
    text = export_configuration().replace("# secret:", "secret:")
    applied.environment |= {
        "OPENAI_MAIN_SECRET": "a",
        "OPENAI_SPARE_SECRET": "b",
        "ANTHROPIC_MAIN_SECRET": "c",
        "GEMINI_MAIN_SECRET": "d",
        "BEDROCK_MAIN_SECRET": "e:f",
        "ACME_ALERT_SECRET": "g",
    }
    before = facts()
    append_only.uninstall(connection)  # a database without these rows, as another machine's would be
    for shape in reversed(SHAPES.values()):
        for item in shape.read():
            if shape.kind == "version":
                item.row.deployments.all().delete()
            item.row.delete()
    Price.objects.all().delete()
    connection.check_constraints()  # PostgreSQL alters no table while deletes in it wait to be checked
    append_only.install(connection)
    assert facts() == {}

    made = applied.apply(text)

    assert facts() == before
    assert sorted(made.secrets) == ["acme/batch", "acme/web"]
    assert applied.lines(text) == ["nothing to change"]


def test_a_new_credential_of_an_export_says_what_it_needs(applied):
    text = export_configuration()
    Credential.objects.filter(provider__name="gemini").delete()

    assert applied.problems(text) == [
        "24:9 providers[2].credentials[0]: this credential is new, so it needs `secret: {env: NAME}`"
    ]


def furnish_words_by_hand(space):
    """Prompts and suites with every text that YAML could lose something of."""
    prompt = Prompt.objects.create(workspace=space, name="words", description=" off ")
    texts = [
        *AWKWARD,
        "a\n b\n",
        "\n\nlead",
        "tab\tand  \n trailing ",
        "\u2028 \x85 \ufeff",
        "{{x}}\r\n",
        "",
        "é😀" * 90,
        "x " * 99,
    ]
    for text in texts:
        version = save_version(
            prompt=prompt,
            words=Words(messages=[{"role": "user", "content": text, "cache_control": {"type": "ephemeral"}}]),
            message=text[:50],
        )
    point_channel(prompt=prompt, channel="production", version=version)
    point_channel(prompt=prompt, channel="gone", version=version)
    point_channel(prompt=prompt, channel="gone", version=None)
    suite = Suite.objects.create(workspace=space, name="s", gate={})
    Case.objects.create(
        suite=suite,
        name="second",
        position=0,
        assertions=[{"kind": "is_json"}],
        expected="a\nb",
        inputs={"n": 1, "": "empty"},
    )
    Case.objects.create(
        suite=suite,
        name="first",
        position=0,
        assertions=[{"kind": "equals", "value": {"a": 1}}],
        messages=[{"role": "user", "content": [{"type": "text"}]}],
    )


def furnish_by_hand():
    """Rows as the admin lets people make them, with all that YAML could stumble over."""
    space = Workspace.objects.create(name="Zürich – lab: #1", timezone="Pacific/Chatham", is_active=True)
    provider = Provider.objects.create(
        name="a: b #c",
        kind="openai_compatible",
        base_url="http://10.0.0.8:8000/v1",
        quirks={"no_done": True, "x": None},
    )
    for at, name in enumerate(AWKWARD):
        Team.objects.create(workspace=space, name=name)
        Credential.objects.create(provider=provider, name=name, sealed=b"x", position=len(AWKWARD) - at)
        model = ServedModel.objects.create(name=name, provider=provider, upstream=name, capabilities=["tools", "image"])
        route = Route.objects.create(name=f"route {name}", options={"embedding_model": name, "timeout_s": 1.5})
        RouteTarget.objects.create(
            route=route, model=model, conditions=[{"field": "tag", "one_of": [name, "~"]}], timeout_s="1.25"
        )
        Budget.objects.create(workspace=space, name=name, of="user", match=name, limit_nanos=1, alert_at=[90, 50])
        Price.objects.create(
            model=name,
            input_nanos=at,
            output_nanos=1,
            details={"reasoning": "1.50", "tiers": [{"above_input_tokens": 9}]},
        )
        Guardrail.objects.create(workspace=space, kind="topics", words=[name], threshold="0.125")
    Route.objects.create(name="without a target")
    RateLimit.objects.create(workspace=space, of="team", match="a team that left", amount=2**40, per="day")
    RedactionPolicy.objects.create(workspace=space, detect=[], options={"deny": AWKWARD})
    AlertChannel.objects.create(workspace=space, kind="email", to=["b@x.example", "a@x.example"], is_enabled=False)
    furnish_words_by_hand(space)
    return space


def test_what_was_made_by_hand_exports_to_an_empty_plan_too(world):
    space = furnish_by_hand()
    issue_key(workspace=space, name="none", terms=KeyTerms(allowed_models=[]))
    issue_key(workspace=space, name="soon over", terms=KeyTerms(expires_at=timezone.now() + timedelta(days=1)))
    revoke_key(key=issue_key(workspace=space, name="revoked").key)
    issue_key(workspace=space, name="expired", terms=KeyTerms(expires_at=timezone.now() - timedelta(days=1)))
    Prompt.objects.create(workspace=space, name="archived", archived_at=timezone.now())

    text = export_configuration()

    assert world.lines(text) == ["nothing to change"]
    assert world.lines(text, prune=True) == ["- route without a target"]


def test_a_rewritten_order_settles_after_one_apply(world):
    furnish_by_hand()
    text = export_configuration().replace("- name: first\n", "- name: third\n")

    assert world.lines(text) != ["nothing to change"]
    assert world.lines(text) == ["nothing to change"]
