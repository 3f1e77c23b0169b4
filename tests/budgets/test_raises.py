"""More for a budget, for a time: the link, the wish, the grant, its end, and the trail that all of it leaves."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEvent
from budgets.admin.asking import asking
from budgets.asking import GOOD_SECONDS, Asking
from budgets.compiler import workspaces
from budgets.hold import known_inputs
from budgets.models import Alert, Budget, Delivery, Raise
from budgets.services import raises
from budgets.services.erasure import forget_people, key_that_asked
from budgets.services.spending import book
from budgets.stage import held
from budgets.states import budget_states
from gateway.core.errors import BudgetExceeded
from tests import rows
from tests.budgets.sample import MINI, ask, attempt, money, snapshot, sums
from tests.budgets.test_spending import line

DAY = timedelta(days=1)
COST = 85 * 150 + 100 * 600  # what the call below may cost


def granted(view, subject, start, end, amount):
    return view.__class__(
        **{f: getattr(view, f) for f in view.__slots__} | {"raises": ((subject, start, end, amount),)}
    )


@pytest.fixture(autouse=True)
def _nothing_known():
    known_inputs.clear()


async def answered(config):
    call = ask("Hello", max_tokens=100)
    async with held(call, config):
        await call.hold.move(MINI)
        call.attempts.append(attempt())


@pytest.mark.parametrize(
    ("subject", "start", "end", "pays"),
    [("7", -1, 60, True), ("8", -1, 60, False), ("7", 60, 120, False), ("7", -60, -1, False)],
)
async def test_a_raise_lifts_the_cap_of_its_subject_while_it_runs(subject, start, end, pays):
    now = time.time()
    config = snapshot(granted(money("cap", "key", COST - 1), subject, now + start, now + end, 1))
    if pays:
        await answered(config)
    else:
        with pytest.raises(BudgetExceeded):
            await answered(config)


async def test_a_raise_begins_and_ends_by_itself_also_for_a_caller_who_is_known(monkeypatch):
    at = time.time()
    monkeypatch.setattr("budgets.plan.time.time", lambda: at)
    config = snapshot(granted(money("cap", "key", COST - 1), "7", at + 10, at + 20, 1))
    seen = []
    for later in (0, 9, 10, 19, 20, 30):
        monkeypatch.setattr("budgets.plan.time.time", lambda later=later: at + later)
        try:
            async with held(ask("Hello", max_tokens=100), config):
                seen.append(True)
        except BudgetExceeded:
            seen.append(False)
    assert seen == [False, False, True, True, False, False]
    assert sums(config) == {}


async def test_a_refusal_leads_to_the_page_where_more_is_asked_for():
    links = Asking("https://gate.example/", "secret")
    view = money("cap", "key", 1, id="12")
    config = snapshot(view)
    config = config.__class__(**{f: getattr(config, f) for f in config.__slots__} | {"asking": links})
    with pytest.raises(BudgetExceeded) as refused:
        async with held(ask("Hello", user="a\ud800nn", max_tokens=5), config):
            raise AssertionError("nothing may be sent")
    hint = refused.value.hint
    assert hint.startswith("Wait for the period to end, or ask for more: https://gate.example/ask/")
    token = hint.rpartition("/ask/")[2].rstrip("/")
    assert links.read(token)[:3] == ("12", "7", "web (a?nn)")
    assert Asking("", "another secret").read(token) is None
    assert links.read(token[:-1]) is None
    assert links.read("nonsense!") is None


def test_a_link_is_good_for_a_week(monkeypatch):
    links = Asking("", "secret")
    token = links.link("1", "7", "app").split("/")[2]
    now = time.time()
    monkeypatch.setattr("budgets.asking.time.time", lambda: now + GOOD_SECONDS + 2)
    assert links.read(token) is None


@pytest.fixture
def world(db):
    return rows.tenant("acme")


def wish(world, **fields):
    budget = world.budget
    return raises.ask(budget=budget, subject=str(budget.workspace_id), asked_by="app", **{"reason": "a demo", **fields})


def test_an_erased_person_is_not_named_by_what_they_asked_for(world):
    secret = "ann@example.com"
    mine = Budget.objects.create(workspace=world.workspace, name="each", of="user", limit_nanos=10**9)
    row = raises.ask(budget=mine, subject=secret, asked_by=f"web ({secret})", reason=f"I, {secret}, need it")
    other = raises.ask(budget=mine, subject="joann", asked_by="web (joann)", reason="me too")
    raises.grant(row=row, amount=5, ends_at=timezone.now() + DAY, by="admin")
    Alert.objects.create(budget=mine, subject=secret, period_start=timezone.now(), threshold=80, spent=8, limit=10)
    assert Delivery.objects.filter(body__contains=secret).exists()

    gone = forget_people(world.workspace, {secret: "p-1"})

    assert gone == {"ledger lines": 0, "raises": 1, "alerts": 1, "messages": 1}
    row.refresh_from_db()
    assert (row.subject, row.subject_name, row.asked_by, row.reason) == ("p-1", "p-1", "web (p-1)", "")
    for table in (Raise, Raise.history.model, Alert, Delivery, AuditEvent):
        assert secret not in repr(list(table.objects.values())), table
    other.refresh_from_db()
    assert (other.subject, other.reason) == ("joann", "me too")
    assert forget_people(world.workspace, {secret: "p-1"}) == dict.fromkeys(gone, 0)


def test_an_erased_person_who_asks_again_and_is_erased_again_is_forgotten_again(world):
    mine = Budget.objects.create(workspace=world.workspace, name="each", of="user", limit_nanos=10**9)
    for _ in range(2):
        raises.ask(budget=mine, subject="ann", asked_by="web (ann)")
        Alert.objects.create(
            budget=mine, subject="ann", period_start=datetime(2026, 1, 1, tzinfo=UTC), threshold=80, spent=8, limit=10
        )
        forget_people(world.workspace, {"ann": "p-1"})

    assert sorted(Raise.objects.values_list("subject", "state")) == [("p-1", "asked"), ("p-1", "refused")]
    assert Alert.objects.values_list("subject", flat=True).get() == "p-1"


@pytest.mark.parametrize(
    ("asked_by", "name", "key"),
    [
        ("web (ann)", "ann", "web"),
        ("web (x) (ann)", "ann", "web (x)"),
        ("web (joann)", "ann", None),
        ("ann", "ann", None),
        (f"web ({'a' * 300})"[:200], "a" * 300, "web"),
    ],
)
def test_who_asked_is_found_in_what_stands_there(asked_by, name, key):
    assert key_that_asked(asked_by, name) == key


def test_a_wish_is_told_granted_compiled_shown_and_ended_and_each_step_is_in_the_trail(world):
    book([line(world.workspace, nanos=850_000_000)])
    row = wish(world, amount=2 * 10**9)
    told = json.loads(Delivery.objects.get().body)
    assert (told["event"], told["budget"], told["asked_by"], told["reason"]) == (
        *("budget.more_asked", "acme-budget", "app", "a demo"),
    )
    raises.grant(row=row, amount=10**9, ends_at=timezone.now() + DAY, by="ann", note="for the demo")
    (view,) = workspaces()[str(world.workspace.pk)].others
    subject = str(world.workspace.pk)
    assert view.cap(subject, time.time()) == (2 * 10**9, row.ends_at.timestamp())
    assert view.cap(subject, time.time() + 86_401) == (10**9, float("inf"))
    (state,) = budget_states(world.workspace)
    assert (state["limit_usd"], state["raised_usd"], state["spent_usd"]) == ("2", "1", "0.85")
    raises.end(row=row, by="ann")
    assert workspaces()[subject].others[0].cap(subject, time.time() + 1)[0] == 10**9
    events = AuditEvent.objects.filter(object_type="raise").order_by("at").values_list("kind", "object_name")
    assert list(events) == [(kind, "acme-budget for the workspace") for kind in ("create", "change", "change")]
    granted_event = AuditEvent.objects.filter(object_type="raise").order_by("at")[1]
    assert json.loads(granted_event.after)["amount"] == 10**9


def test_asking_again_replaces_the_wish_and_five_a_day_are_enough(world):
    first = wish(world, amount=1)
    assert wish(world, amount=5, reason="more").pk == first.pk
    first.refresh_from_db()
    assert (first.asked_amount, first.reason) == (5, "more")
    for _ in range(4):
        raises.refuse(row=Raise.objects.get(state="asked"), by="ann")
        wish(world)
    raises.refuse(row=Raise.objects.get(state="asked"), by="ann")
    with pytest.raises(ValidationError, match="too often"):
        wish(world)
    assert Delivery.objects.count() == 5


@pytest.mark.parametrize(
    ("amount", "ends", "says"),
    [
        (0, DAY, "more than nothing"),
        (1, -DAY, "still to come"),
        (1, 400 * DAY, "within a year"),
        (2**63 - 1, DAY, "counted exactly"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(world, amount, ends, says):
    row = wish(world)
    with pytest.raises(ValidationError, match=says):
        raises.grant(row=row, amount=amount, ends_at=timezone.now() + ends, by="ann")
    raises.refuse(row=row, by="ann")
    with pytest.raises(ValidationError, match="refused by ann"):
        raises.grant(row=row, amount=1, ends_at=timezone.now() + DAY, by="ann")


@pytest.mark.parametrize("redis", ["", "redis://127.0.0.1:1/0"])
def test_a_budget_larger_than_the_counters_compare_exactly_is_refused_when_saved(world, settings, redis):
    settings.REDIS_URL = redis
    for field in ("limit_nanos", "limit_tokens"):
        row = Budget(workspace=world.workspace, name=field, of="workspace", **{field: 2**53})
        if redis:
            with pytest.raises(ValidationError, match="exact up to"):
                row.full_clean()
        else:
            row.full_clean()
        Budget(workspace=world.workspace, name=field, of="workspace", **{field: 2**53 - 1}).full_clean()


def page(world):
    return asking().link(str(world.budget.pk), str(world.workspace.pk), "app")


def test_whoever_holds_the_link_can_ask_on_a_page_or_as_a_program(client, world):
    link = page(world)
    shown = client.get(link)
    assert shown.status_code == 200
    assert "acme-budget" in shown.content.decode()
    assert client.post(link, {"amount": "x", "reason": ""}).status_code == 400
    assert client.post(link, {"amount": "2.50", "reason": "a demo"}).status_code == 302
    row = Raise.objects.get()
    assert (row.asked_amount, row.reason, row.asked_by, row.state) == (2_500_000_000, "a demo", "app", "asked")
    assert "admin of the workspace has been told" in client.get(link).content.decode()
    answer = client.post(link, json.dumps({"amount_usd": "3", "reason": "now"}), content_type="application/json")
    assert (answer.status_code, answer.json()["state"]) == (201, "asked")
    row.refresh_from_db()
    assert (row.asked_amount, row.reason) == (3 * 10**9, "now")
    for body in ("[]", "{", '{"amount_usd": "-1"}', '{"amount_usd": {}}'):
        refused = client.post(link, body, content_type="application/json")
        assert (refused.status_code, list(refused.json())) == (400, ["error"])
    assert client.get("/ask/AAAA/").status_code == 404
    assert client.post("/ask/AAAA/", "{}", content_type="application/json").status_code == 404


def test_an_admin_grants_on_the_pages_and_a_viewer_may_not(client, world):
    row = wish(world, amount=10**9)
    urls = {verb: reverse(f"admin:budgets_raise_{verb}", args=[row.pk]) for verb in ("grant", "refuse", "end_now")}
    given = {"amount": "1.5", "how_long": "period", "note": "ok"}
    client.force_login(world.person("viewer"))
    assert client.post(urls["grant"], given).status_code == 403
    client.force_login(world.person("finance"))
    assert client.get(reverse("admin:budgets_raise_changelist")).status_code == 200
    assert client.get(urls["grant"]).status_code == 200
    assert client.post(urls["grant"], given).status_code == 302
    row.refresh_from_db()
    assert (row.state, row.amount, row.decided_by, row.note) == ("granted", 1_500_000_000, "acme-finance", "ok")
    again = client.post(urls["grant"], given)
    assert "decided already" in again.content.decode()
    assert client.post(urls["end_now"], {"note": ""}).status_code == 302
    row.refresh_from_db()
    assert not row.is_running(timezone.now())
    assert client.get(reverse("admin:budgets_raise_change", args=[row.pk])).status_code == 200


def test_the_api_asks_for_whoever_sees_money_and_grants_for_whoever_may_change_it(client, world):
    other = rows.tenant("umbra")
    client.force_login(world.person("viewer"))
    asked = client.post(
        "/api/budget-raises/", {"budget": world.budget.pk, "amount_usd": "2", "reason": "demo"}, "application/json"
    )
    assert asked.status_code == 201, asked.content
    path = f"/api/budget-raises/{asked.json()['id']}/"
    given = {"ends_at": (timezone.now() + DAY).isoformat()}
    assert client.post(f"{path}grant/", given, "application/json").status_code == 403
    theirs = client.post("/api/budget-raises/", {"budget": other.budget.pk, "reason": "demo"}, "application/json")
    assert (theirs.status_code, list(theirs.json())) == (400, ["budget"])
    wrong = client.post(
        "/api/budget-raises/", {"budget": world.budget.pk, "amount_tokens": 5, "reason": "demo"}, "application/json"
    )
    assert (wrong.status_code, list(wrong.json())) == (400, ["amount_tokens"])
    client.force_login(other.person("finance"))
    assert client.post(f"{path}grant/", given, "application/json").status_code == 404
    client.force_login(world.person("finance"))
    granted = client.post(f"{path}grant/", given, "application/json")
    assert granted.status_code == 200, granted.content
    assert (granted.json()["state"], granted.json()["granted"]) == ("granted", "2")
    assert client.post(f"{path}refuse/", {}, "application/json").status_code == 400
    assert client.post(f"{path}end/", {}, "application/json").status_code == 200
