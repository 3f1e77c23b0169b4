"""A file is applied as it stands, once; applied again it changes nothing."""

from decimal import Decimal

from django.conf import settings
from django.utils import timezone

from budgets.models import AlertChannel, Budget, Price
from evals.models import Case, Guardrail, Suite
from gateway.models import Credential, Provider, RedactionPolicy, Revision, Route, RouteTarget, ServedModel
from gateway.services.configuration.applying import SHAPES, current_items
from prompts.models import Deployment, Prompt, PromptVersion
from tenants.models import ApiKey, RateLimit, Team, Workspace, key_digest_of
from tenants.services.keys import revoke_key, rotate_key

EVERYTHING = [
    *(AlertChannel, Budget, Price, Case, Guardrail, Suite, Credential, Provider, RedactionPolicy, Route),
    *(RouteTarget, ServedModel, Deployment, Prompt, PromptVersion, ApiKey, RateLimit, Team, Workspace),
]


def everything():
    """Every row of the configuration, to compare before and after."""
    return {model: sorted(model.objects.values_list(), key=repr) for model in EVERYTHING}


def test_the_contracts_file_applies_as_it_stands(world):
    lines = world.lines()

    assert len(lines) == 50
    assert {line[0] for line in lines} == {"+"}
    assert lines[:3] == ["+ provider openai", "+ provider anthropic", "+ provider gemini"]
    assert lines[-1] == "+ case acme/summary-golden/short"


def test_applying_twice_changes_nothing(applied):
    before = everything()

    assert applied.lines() == ["nothing to change"]
    assert applied.lines(prune=True) == ["nothing to change"]
    assert everything() == before


def test_what_was_written_is_what_the_file_says(applied):
    model = ServedModel.objects.get(name="gpt-4o-mini")
    price = Price.objects.get(model="gpt-4o-mini")
    chain = RouteTarget.objects.filter(route__name="chat").select_related("model")
    key = ApiKey.objects.get(name="web")
    limit = RateLimit.objects.get(of="key", match="batch")
    prompt = Prompt.objects.get(name="summary")

    assert (model.provider.name, model.max_output_tokens, model.context_tokens) == ("openai", 16384, 128000)
    assert (price.input_nanos, price.output_nanos, price.cached_input_nanos) == (150_000_000, 600_000_000, 75_000_000)
    assert [(step.model.name, step.first_byte_timeout_s, step.timeout_s) for step in chain] == [
        ("claude-sonnet-4-5", Decimal(10), Decimal(60)),
        ("gpt-4o-mini", None, None),
        ("llama-local", None, None),
    ]
    assert bytes(key.digest) == key_digest_of(applied.environment["ACME_WEB_KEY"])
    assert (key.team.name, key.allowed_ips, key.expires_at) == ("search", [], None)
    assert ApiKey.objects.get(name="batch").allowed_models is None
    assert (limit.unit, limit.amount, limit.per) == ("concurrency", 20, "")
    assert Budget.objects.get(name="month").limit_nanos == 500 * 10**9
    assert Workspace.objects.get().store_bodies is True
    assert [(v.number, v.message) for v in prompt.versions.order_by("number")] == [
        (1, "first version"),
        (2, "asks for plain words"),
    ]
    assert {(d.channel, d.version.number, d.actor) for d in prompt.deployments.all()} == {
        ("production", 1, "apply"),
        ("staging", 2, "apply"),
    }
    assert Case.objects.get().assertions == [
        {"kind": "contains", "value": "cat"},
        {"kind": "max_words", "value": 20, "critical": True},
    ]


def test_credentials_are_sealed_and_taken_in_the_files_order(applied):
    rows = Credential.objects.filter(provider__name="openai").order_by("position")

    assert [(row.name, row.secret) for row in rows] == [
        ("main", "sk-openai-main-0001"),
        ("spare", "sk-openai-spare-0002"),
    ]
    assert b"sk-openai" not in bytes(rows[0].sealed)
    channel = AlertChannel.objects.get(kind="webhook")
    assert settings.KEYRING.open(bytes(channel.sealed), channel.seal_context) == b"alert-secret-0008"


def test_a_dry_run_plans_and_changes_nothing(world):
    before = everything()

    applied = world.apply(dry_run=True)

    assert len(applied.plan.lines()) == 50
    assert (applied.is_done, applied.secrets) == (False, {})
    assert everything() == before
    assert not Revision.objects.filter(number__gt=0).exists()


def test_each_change_is_one_line_with_its_fields(applied):
    applied.replace('input: "0.15"', 'input: "0.20"').replace("amount: 6000", "amount: 7000")
    applied.replace('limit_usd: "25.00"}', 'limit_usd: "30.00", mode: soft}')
    applied.replace("timezone: Africa/Johannesburg", "timezone: UTC").replace("weight: 90}", "weight: 80}")

    lines = applied.lines()

    assert lines == [
        "~ model gpt-4o-mini: price.input 0.15 -> 0.2",
        "~ route split: targets[0].weight 90 -> 80",
        "~ workspace acme: timezone Africa/Johannesburg -> UTC",
        "~ limit acme/workspace/requests/minute: amount 6000 -> 7000",
        "~ budget acme/search a day: limit_usd 25 -> 30, mode hard -> soft",
    ]
    assert applied.lines() == ["nothing to change"]
    assert RouteTarget.objects.get(route__name="split", model__name="gpt-4o-mini").weight == 80


def test_a_new_price_is_a_new_row_and_the_old_one_stays(applied):
    applied.replace('input: "0.15"', 'input: "0.20"').apply()

    prices = Price.objects.filter(model="gpt-4o-mini").order_by("valid_from")

    assert [price.input_nanos for price in prices] == [150_000_000, 200_000_000]


def test_a_price_that_is_left_out_gives_way_to_the_catalogue(applied):
    applied.replace('    price: {input: "0.15", output: "0.60", cached_input: "0.075"}', "")

    assert len(applied.lines()) == 1
    assert Price.objects.filter(model="gpt-4o-mini").count() == 0
    assert applied.lines() == ["nothing to change"]


def test_a_changed_secret_is_replaced_and_never_shown(applied):
    applied.environment |= {
        "OPENAI_API_KEY": "sk-openai-new-0009",
        "ACME_WEB_KEY": "another-web-key-entirely",
        "ALERT_SECRET": "another-alert-secret",
    }
    sealed = bytes(Credential.objects.get(provider__name="anthropic").sealed)

    lines = applied.lines()

    assert lines == [
        "~ credential openai/main: secret replaced",
        "~ key acme/web: secret replaced",
        "~ alert acme/webhook/http://127.0.0.1:9109/alerts: secret replaced",
    ]
    assert applied.lines() == ["nothing to change"]
    assert Credential.objects.get(provider__name="openai", name="main").secret == "sk-openai-new-0009"
    assert bytes(ApiKey.objects.get(name="web").digest) == key_digest_of("another-web-key-entirely")
    assert bytes(Credential.objects.get(provider__name="anthropic").sealed) == sealed


def test_a_key_without_a_secret_is_made_once_and_its_secret_told_once(applied):
    applied.replace("{name: batch, secret: {env: ACME_BATCH_KEY}, team: support}", "{name: made, team: support}")
    applied.replace("{of: key, name: batch, unit: concurrency", "{of: key, name: made, unit: concurrency")

    first = applied.apply()
    second = applied.apply()

    assert first.plan.lines() == ["+ key acme/made", "+ limit acme/key/made/concurrency"]
    assert list(first.secrets) == ["acme/made"]
    assert bytes(ApiKey.objects.get(name="made").digest) == key_digest_of(first.secrets["acme/made"])
    assert (second.plan.lines(), second.secrets) == (["nothing to change"], {})
    assert first.secrets["acme/made"] not in repr(first)


def test_a_key_that_was_rotated_elsewhere_keeps_its_new_secret_while_both_open(applied):
    rotate_key(key=ApiKey.objects.get(name="web"))

    assert applied.lines() == ["nothing to change"]


def test_a_revoked_key_stays_revoked(applied):
    revoke_key(key=ApiKey.objects.get(name="web"))

    again = applied.apply()

    assert again.plan.lines() == ["nothing to change"]
    assert again.plan.notes[-1:] == [
        "key acme/web was revoked and stays so; take it out of the file, or name a new key"
    ]
    assert ApiKey.objects.get(name="web").revoked_at is not None


def test_a_webhook_to_this_machine_is_read_anywhere_and_told_where_nothing_is_sent(world, settings):
    settings.PRIVATE_WEBHOOK_HOSTS = []

    assert world.apply().plan.notes == [
        "nothing is sent to http://127.0.0.1:9109/alerts while PRIVATE_WEBHOOK_HOSTS does not name 127.0.0.1"
    ]
    assert world.replace("http://127.0.0.1:9109", "http://10.0.0.9:9109").problems() == [
        "102:30 workspaces[0].alerts[0].url: 10.0.0.9 is not a public address; calls never go there "
        "(PRIVATE_WEBHOOK_HOSTS can allow a host)"
    ]


def test_without_prune_what_the_file_does_not_name_stays(applied):
    before = everything()

    assert applied.lines("version: 1\nroutes: []\nworkspaces: [{name: acme, keys: [], budgets: []}]\n") == [
        "nothing to change"
    ]
    assert everything() == before


def test_prune_removes_only_in_sections_that_the_file_has(applied):
    lines = applied.lines(
        "version: 1\nroutes: []\nworkspaces: [{name: acme, limits: [], keys: [], budgets: [], prompts: [], suites: []}]\n",
        prune=True,
    )

    assert lines == [
        "- suite acme/summary-golden",
        "- prompt acme/summary (archived)",
        "- budget acme/each user a day",
        "- budget acme/month",
        "- budget acme/one call",
        "- budget acme/search a day",
        "- budget acme/sonnet",
        "- budget acme/user tokens",
        "- limit acme/ip/requests/minute",
        "- limit acme/key/requests/minute",
        "- limit acme/key/tokens/minute",
        "- limit acme/key/batch/concurrency",
        "- limit acme/user/requests/minute",
        "- limit acme/workspace/requests/minute",
        "- key acme/batch (revoked)",
        "- key acme/web (revoked)",
        "- route chat",
        "- route cheapest",
        "- route faq",
        "- route split",
    ]
    assert [key.revoked_at is not None for key in ApiKey.objects.all()] == [True, True]
    assert Prompt.objects.get().archived_at is not None
    assert (PromptVersion.objects.count(), ServedModel.objects.count(), Team.objects.count()) == (2, 6, 2)


def test_prune_leaves_nothing_without_what_it_uses(applied):
    assert applied.problems("version: 1\nmodels: []\nworkspaces: [{name: acme, prompts: []}]\n", prune=True) == [
        " --prune would remove model 'claude-sonnet-4-5', which budget acme/sonnet still uses",
        " --prune would remove model 'claude-sonnet-4-5', which key acme/web still uses",
        " --prune would remove model 'claude-sonnet-4-5', which route chat still uses",
        " --prune would remove model 'claude-sonnet-4-5', which route cheapest still uses",
        " --prune would remove model 'gemini-2.5-flash', which route cheapest still uses",
        " --prune would remove model 'gemini-2.5-flash', which route split still uses",
        " --prune would remove model 'gpt-4o-mini', which key acme/web still uses",
        " --prune would remove model 'gpt-4o-mini', which route chat still uses",
        " --prune would remove model 'gpt-4o-mini', which route cheapest still uses",
        " --prune would remove model 'gpt-4o-mini', which route faq still uses",
        " --prune would remove model 'gpt-4o-mini', which route split still uses",
        " --prune would remove model 'llama-local', which route chat still uses",
        " --prune would remove model 'text-embedding-3-small', which key acme/web still uses",
        " --prune would remove prompt 'summary', which suite acme/summary-golden still uses",
    ]
    assert ServedModel.objects.count() == 6


def test_prune_switches_a_workspace_off_and_an_archived_prompt_comes_back(applied):
    assert applied.lines("version: 1\nworkspaces: []\n", prune=True) == ["- workspace acme (switched off)"]
    assert applied.lines("version: 1\nworkspaces: []\n", prune=True) == ["nothing to change"]
    applied.lines("version: 1\nworkspaces: [{name: acme, enabled: true, prompts: [], suites: []}]\n", prune=True)

    assert applied.lines() == [
        "~ prompt acme/summary: archived True -> False",
        "+ suite acme/summary-golden",
        "+ case acme/summary-golden/short",
    ]
    assert Workspace.objects.get().is_active is True


def test_an_emptied_policy_goes_without_prune(applied):
    assert applied.lines("version: 1\nworkspaces: [{name: acme, redaction: null}]\n") == ["- redaction acme"]
    assert RedactionPolicy.objects.count() == 0


def test_order_counts_where_it_counts(applied):
    swapped = applied.text.replace(
        """      - {name: main, secret: {env: OPENAI_API_KEY}}
      - {name: spare, secret: {env: OPENAI_API_KEY_2}}""",
        """      - {name: spare, secret: {env: OPENAI_API_KEY_2}}
      - {name: new, secret: another-literal-secret}
      - {name: main, secret: {env: OPENAI_API_KEY}}""",
    )

    assert applied.lines(swapped) == [
        "~ credential openai/spare: position 1 -> 0",
        "+ credential openai/new",
        "~ credential openai/main: position 0 -> 2",
    ]
    rows = Credential.objects.filter(provider__name="openai").order_by("position")
    assert [row.name for row in rows] == ["spare", "new", "main"]
    assert applied.lines(swapped) == ["nothing to change"]


def test_a_version_that_was_appended_is_added_and_the_channel_moves(applied):
    applied.replace(
        "        channels: {production: 1, staging: 2}",
        "          - {message: third, route: chat, messages: [{role: user, content: '{{text}}'}]}\n"
        "        channels: {production: 3, staging: 2}",
    )

    assert applied.lines() == [
        "+ version acme/summary/3",
        "~ channel acme/summary/production: version 1 -> 3",
    ]
    assert [d.seq for d in Deployment.objects.filter(channel="production").order_by("seq")] == [1, 2]
    assert applied.lines() == ["nothing to change"]


def test_only_the_rows_that_change_are_saved(applied):
    applied.replace("weight: 90}", "weight: 80}").apply()

    assert Route.history.filter(name="split").count() == 1
    assert RouteTarget.history.filter(route__name="split").count() == 3
    assert Provider.history.count() == 5


def test_the_history_says_that_apply_did_it(applied):
    assert set(Provider.history.values_list("history_change_reason", flat=True)) == {"apply"}
    assert set(ApiKey.history.values_list("history_change_reason", flat=True)) == {"apply"}


def test_reading_what_is_there_takes_one_query_for_each_kind(applied, django_assert_num_queries):
    with django_assert_num_queries(len(SHAPES) + 2):  # models also read prices, routes also read targets
        items = current_items()
    assert len(items) == 50


def test_an_empty_plan_takes_few_queries(applied, django_assert_max_num_queries):
    with django_assert_max_num_queries(len(SHAPES) + 6):
        applied.apply()


def test_a_file_may_hold_one_section_of_one_workspace(applied):
    assert applied.lines(
        "version: 1\nworkspaces:\n  - name: acme\n    limits: [{of: team, name: search, amount: 5}]\n"
    ) == ["+ limit acme/team/search/requests/minute"]


def test_days_of_expiry_are_kept(applied):
    day = f"{timezone.now().year + 2}-05-01"
    applied.replace("expires_at: null", f"expires_at: {day}")

    assert applied.lines() == [f"~ key acme/web: expires_at nothing -> {day}T00:00:00Z"]
    assert applied.lines() == ["nothing to change"]
    assert ApiKey.objects.get(name="web").expires_at.isoformat() == f"{day}T00:00:00+00:00"


def test_a_disabled_provider_is_a_field_like_any_other(applied):
    applied.replace("    kind: anthropic\n", "    kind: anthropic\n    enabled: false\n")

    assert applied.lines(prune=True) == ["~ provider anthropic: enabled True -> False"]
