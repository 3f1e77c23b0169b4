"""Files that are wrong: each says what and where, all at once, and nothing is changed."""

import pytest

from gateway.models import Provider, Revision
from gateway.services.configuration.document import Node, Problems, read_document
from gateway.services.configuration.kinds import Reading
from gateway.services.configuration.records import NEEDED, UNTOUCHED, ListOf, MapOf, Record
from gateway.services.configuration.schema import FILE
from tenants.models import Workspace

BROKEN = {
    "a field that nobody knows": (
        "    upstream: gpt-4o-mini\n",
        "    upstraem: gpt-4o-mini\n",
        [
            "31:5 models[0]: a model needs `upstream`",
            "33:5 models[0].upstraem: a model has no field 'upstraem'; did you mean 'upstream'?",
        ],
    ),
    "a word that is none of the choices": (
        "strategy: weighted                #",
        "strategy: wieghted                #",
        [
            "53:15 routes[1].strategy: 'wieghted' is none of priority, weighted, cost, latency or quality; "
            "did you mean 'weighted'?"
        ],
    ),
    "a target that is no model": (
        "{model: gpt-4o-mini, weight: 90}",
        "{model: gpt-5-mini, weight: 90}",
        ["55:23 routes[1].targets[0].model: there is no model 'gpt-5-mini'; did you mean 'gpt-4o-mini'?"],
    ),
    "a target that is a route": (
        "{model: gpt-4o-mini, weight: 90}",
        "{model: chat, weight: 90}",
        ["55:23 routes[1].targets[0].model: 'chat' is a route; a target must be a model"],
    ),
    "a provider that is not there": (
        "name: nova-lite, provider: bedrock",
        "name: nova-lite, provider: bedrok",
        ["39:33 models[3].provider: there is no provider 'bedrok'; did you mean 'bedrock'?"],
    ),
    "money that is a float": (
        'price: {input: "0.15"',
        "price: {input: 0.15",
        [
            '34:20 models[0].price.input: money is written in quotes, like "0.15": a bare number would lose cents',
        ],
    ),
    "a variable that is not set": (
        "secret: {env: ANTHROPIC_API_KEY}",
        "secret: {env: ANTROPIC_API_KEY}",
        [
            "16:40 providers[1].credentials[0].secret: the environment variable ANTROPIC_API_KEY is not set",
        ],
    ),
    "a name that stands twice": (
        "- {name: batch, secret: {env: ACME_BATCH_KEY}, team: support}",
        "- {name: web, secret: {env: ACME_BATCH_KEY}, team: support}",
        [
            "77:9 workspaces[0].keys[1]: name 'web' stands twice; the first is in line 71",
            "82:25 workspaces[0].limits[3].name: there is no key 'batch'",
        ],
    ),
    "a secret of two keys": (
        "secret: {env: ACME_BATCH_KEY}",
        "secret: {env: ACME_WEB_KEY}",
        [
            "77:31 workspaces[0].keys[1].secret: is the secret of key acme/web too; each key needs its own",
        ],
    ),
    "a secret that is too short": (
        "secret: {env: ACME_BATCH_KEY}",
        "secret: hunter2",
        [
            "77:31 workspaces[0].keys[1].secret: is too short: a secret here needs 16 characters or more",
        ],
    ),
    "a team that is not there": (
        "        team: search\n",
        "        team: sales\n",
        ["73:15 workspaces[0].keys[0].team: there is no team 'sales'"],
    ),
    "a model of a key that is not there": (
        "models: [chat, split,",
        "models: [chta, split,",
        ["74:18 workspaces[0].keys[0].models[0]: there is no route or model 'chta'; did you mean 'chat'?"],
    ),
    "a number out of range": (
        "retries: 1 ",
        "retries: 9 ",
        ["50:14 routes[0].retries: 9 is out of range: from 0 to 5"],
    ),
    "a limit with a burst above its amount": (
        "amount: 600, per: minute, burst: 100}",
        "amount: 600, per: minute, burst: 601}",
        ["80:68 workspaces[0].limits[1].burst: the burst of 601 is more than the amount of 600"],
    ),
    "a concurrency with a window": (
        "unit: concurrency, amount: 20}",
        "unit: concurrency, amount: 20, per: minute}",
        ["82:68 workspaces[0].limits[3].per: calls at once have no window; leave `per` out"],
    ),
    "a budget with two limits": (
        'limit_usd: "500.00",',
        'limit_usd: "500.00", limit_tokens: 5,',
        [
            "87:9 workspaces[0].budgets[1]: a budget has `limit_usd` or `limit_tokens`: one of the two",
        ],
    ),
    "a budget that matches nothing": (
        "of: team, match: search",
        "of: team, match: sales",
        ["88:47 workspaces[0].budgets[2].match: there is no team 'sales'"],
    ),
    "a zone that is none": (
        "timezone: Africa/Johannesburg",
        "timezone: Joburg",
        [
            "66:15 workspaces[0].timezone: 'Joburg' is not a time zone; write one like Africa/Johannesburg",
        ],
    ),
    "a webhook into the cloud's metadata": (
        'url: "http://127.0.0.1:9109/alerts"',
        'url: "http://169.254.169.254/latest"',
        [
            "102:30 workspaces[0].alerts[0].url: 169.254.169.254 is a link-local address; calls never go there "
            "(PRIVATE_WEBHOOK_HOSTS can allow a host)",
        ],
    ),
    "a provider at a link-local address": (
        "base_url: http://127.0.0.1:9102",
        "base_url: http://169.254.169.254",
        ["15:15 providers[1].base_url: 169.254.169.254 is a link-local address; calls never go there"],
    ),
    "a channel of a version that is not there": (
        "channels: {production: 1, staging: 2}",
        "channels: {production: 3, staging: 2}",
        ["119:32 workspaces[0].prompts[0].channels.production: there is no version '3'; the prompt has 2"],
    ),
    "a suite of a prompt that is not there": (
        "        prompt: summary\n",
        "        prompt: sumary\n",
        ["122:17 workspaces[0].suites[0].prompt: there is no prompt 'sumary'; did you mean 'summary'?"],
    ),
    "a key of the mapping that stands twice": (
        "    on_unpriced: reject ",
        "    timezone: UTC\n    on_unpriced: reject ",
        ["67:5 workspaces[0].timezone: 'timezone' stands twice here; the first is in line 66"],
    ),
    "a version of the format that is not ours": (
        "version: 1\n\n",
        "version: 2\n\n",
        ["4:10 version: 2 is out of range: from 1 to 1"],
    ),
    "text where a list belongs": (
        "detect: [email, phone, id_number, credit_card, iban, ip_address, person]",
        "detect: email",
        ["93:15 workspaces[0].redaction.detect: must be a list, not text"],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_told_where_and_changes_nothing(world, what):
    old, new, told = BROKEN[what]

    assert world.replace(old, new).problems() == told
    assert (Provider.objects.count(), Workspace.objects.count()) == (0, 0)
    assert not Revision.objects.filter(number__gt=0).exists()


def test_every_problem_is_told_at_once_in_the_files_order(world):
    for what in ("money that is a float", "a zone that is none", "a number out of range", "a team that is not there"):
        world.replace(*BROKEN[what][:2])

    assert [line.split(" ")[0] for line in world.problems()] == ["34:20", "50:14", "66:15", "73:15"]


def test_a_broken_file_changes_nothing_of_what_was_applied_before(applied):
    number = Revision.objects.get().number
    applied.replace("amount: 6000", "amount: 7000").replace("of: team, match: search", "of: team, match: sales")

    assert len(applied.problems()) == 1
    assert Revision.objects.get().number == number


def test_a_stored_version_that_the_file_words_otherwise_is_refused(applied):
    applied.replace("in one sentence, in plain words.", "in two sentences, in plain words.")

    assert applied.problems() == [
        "113:13 workspaces[0].prompts[0].versions[1]: version 2 of acme/summary is stored with other messages, and "
        "versions never change: leave it as it was and append a new one"
    ]


def test_a_new_credential_needs_its_secret(world):
    world.replace("- {name: main, secret: {env: OPENAI_API_KEY}}", "- {name: main}")

    assert world.problems() == [
        "11:9 providers[0].credentials[0]: this credential is new, so it needs `secret: {env: NAME}`"
    ]


def test_what_the_database_refuses_is_told_at_its_place(world):
    world.environment["ACME_WEB_KEY"] = "a tab\tthat no header carries"

    [problem] = world.problems()

    assert problem.startswith("71:9 workspaces[0].keys[0]: secret: No header can carry this key")
    assert Provider.objects.count() == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", ["1:1: must be a mapping (the file), not a list"]),
        ("providers: []", ["1:1: the file needs `version`"]),
        ("version: '1'", ["1:10 version: must be a whole number, not text"]),
        ("version: 1\nproviders:\n", ["2:11 providers: must be a list, not nothing; for none write []"]),
        (
            "version: 1\nprovider: []",
            ["2:1 provider: the file has no field 'provider'; did you mean 'providers'?"],
        ),
    ],
)
def test_the_file_itself_can_be_wrong(world, text, told):
    assert world.problems(text) == told


def fields(record: Record, path: str = ""):
    """Every field of the format, with its path."""
    for name, field in record.fields.items():
        yield f"{path}{name}", field
        kind = field.kind
        while isinstance(kind, (ListOf, MapOf)):
            kind = kind.kind
        if isinstance(kind, Record):
            yield from fields(kind, f"{path}{name}.")


def test_every_default_could_stand_in_a_file_itself():
    for path, field in fields(FILE):
        if not any(field.default is none for none in (NEEDED, UNTOUCHED, None)):
            problems = Problems("f.yaml")
            node, _ = read_document(f"x: {field.default!r}".replace("True", "true").replace("False", "false"), "f.yaml")
            given: Node = node.value["x"]
            if given.value not in ("", [], {}):
                assert (path, field.kind.read(given, Reading(problems, {})), problems.found) == (
                    path,
                    field.default,
                    [],
                )
