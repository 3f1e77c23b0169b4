"""The pages of records, as people with different roles see them."""

import json

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client

from audit.bodies import BodySealer
from audit.models import AuditEvent, CallRecord, Feedback, SavedFilter
from audit.services.changes import record_event
from gateway.core.call import Caller
from tenants.models import Member, Workspace
from tests.audit.sample import call, carry, drained, recorder, snapshot
from tests.audit.test_writer import run

pytestmark = pytest.mark.django_db
LIST = "/admin/audit/callrecord/"


@pytest.fixture
def keeper(tmp_path):
    made = recorder(tmp_path)
    made.sealer = BodySealer(settings.KEYRING.seal)
    yield made
    made.journal.close(remove=True)


@pytest.fixture
def acme():
    return Workspace.objects.create(pk=1, name="acme")


@pytest.fixture
def other():
    return Workspace.objects.create(pk=2, name="other")


@pytest.fixture
def root():
    return client_of(get_user_model().objects.create_superuser("root", password="x"))


def client_of(user):
    client = Client()
    client.force_login(user)
    return client


def member(workspace, role):
    user = get_user_model().objects.create_user(f"{role}-{workspace.name}")
    Member.objects.create(workspace=workspace, user=user, role=role)
    return client_of(user)


def put(keeper, **fields):
    made = call(**fields)
    run(carry(made, snapshot(keeper, store_bodies="answered" in fields)))
    drained(keeper)
    return made


def listed(response):
    return [row.pk for row in response.context["page"].rows]


def test_the_newest_call_stands_first_and_older_ones_follow_page_by_page(root, keeper):
    for _ in range(120):
        run(carry(call(), snapshot(keeper)))
    drained(keeper)

    seen, address = [], LIST
    for _ in range(3):
        response = root.get(address)
        seen += listed(response)
        address = f"{LIST}?before={response.context['page'].older}"

    assert seen == list(CallRecord.objects.order_by("-at", "-pk").values_list("pk", flat=True))
    assert response.context["page"].older == ""


def test_a_page_asks_the_same_few_queries_however_many_calls_there_are(root, keeper, django_assert_num_queries):
    put(keeper, user="ann")
    root.get(LIST)
    with django_assert_num_queries(8):
        root.get(LIST)
    for name in ("bob", "cid"):
        put(keeper, user=name)
    with django_assert_num_queries(8):
        root.get(LIST)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("user=ann", ["a"]),
        ("user=nobody", []),
        ("tag=blue", ["a"]),
        ("tag=blu", []),
        ("outcome=answered", ["b", "a"]),
        ("status=200&key=web", ["b", "a"]),
        ("status=5xx", []),
        ("session=s1", ["b"]),
        ("run=r1", ["b"]),
        ("prompt=summary", ["b"]),
        ("prompt=summary@3", ["b"]),
        ("prompt=summary@4", []),
        ("min_cost=0.0000198", ["b", "a"]),
        ("min_cost=%241", []),
        ("model=gpt-4o-mini&provider=openai&route=chat&team=search", ["b", "a"]),
        ("call=a", ["a"]),
        ("period=1h", ["b", "a"]),
        ("since=2001-01-01&until=2001-01-02", []),
        ("workspace=acme", ["b", "a"]),
        ("workspace=other", []),
    ],
)
def test_calls_are_found_by_what_is_known_of_them(root, keeper, query, found):
    put(keeper, id="a", user="ann", tags=("blue", "sky"))
    b = call(id="b", prompt="summary@3")
    b.controls.session_id, b.controls.run_id = "s1", "r1"
    run(carry(b, snapshot(keeper)))
    drained(keeper)

    assert listed(root.get(f"{LIST}?{query}")) == found


def test_a_search_that_can_not_be_read_says_so_at_its_field(root):
    response = root.get(f"{LIST}?status=abc&min_cost=x&since=yesterday")

    assert response.context["search"].errors == {
        "since": "Write a moment like 2026-01-31 08:00.",
        "status": "Write a status like 429, or 5xx.",
        "min_cost": "Write an amount of dollars like 0.05.",
    }


def test_a_member_sees_the_calls_of_their_own_workspace_only(keeper, acme, other):
    mine = put(keeper)
    theirs = put(keeper, caller=Caller("2", "other", "k", "theirs"))
    nobodys = put(keeper, caller=None)
    viewer = member(acme, "viewer")

    assert listed(viewer.get(LIST)) == [mine.id]
    assert viewer.get(f"{LIST}{mine.id}/change/").status_code == 200
    for hidden in (theirs, nobodys):
        assert viewer.get(f"{LIST}{hidden.id}/change/").status_code == 404
        assert listed(viewer.get(f"{LIST}?call={hidden.id}")) == []
        assert viewer.post(f"{LIST}{hidden.id}/feedback/", {"score": "1"}).status_code == 404
    exported = b"".join(viewer.get(f"{LIST}export/jsonl/").streaming_content).decode()
    assert [json.loads(line)["call_id"] for line in exported.splitlines()] == [mine.id]


def test_nobody_changes_or_deletes_a_record_on_a_page(root, keeper):
    made = put(keeper)

    for address in ("add/", f"{made.id}/delete/"):
        assert root.post(f"{LIST}{address}").status_code in (403, 404)
    root.post(LIST, {"action": "delete_selected", "_selected_action": made.id, "post": "yes"})

    assert CallRecord.objects.filter(pk=made.id).exists()


def test_what_was_said_is_shown_to_those_who_may_and_the_looking_is_recorded(keeper, acme):
    made = put(
        keeper, answered=bytearray(b"<b>forty-two</b>"), body={"messages": [{"role": "user", "content": "why?"}]}
    )
    editor, viewer = member(acme, "editor"), member(acme, "viewer")

    page = editor.get(f"{LIST}{made.id}/change/")
    assert b"forty-two" not in page.content
    shown = editor.post(f"{LIST}{made.id}/bodies/")

    assert [body.text for body in shown.context["bodies"]] == [
        '{"messages":[{"role":"user","content":"why?"}]}',
        "<b>forty-two</b>",
    ]
    assert b"&lt;b&gt;forty-two&lt;/b&gt;" in shown.content
    event = AuditEvent.objects.get(kind="reveal")
    assert (event.actor, event.object_id) == ("editor-acme", made.id)
    assert viewer.post(f"{LIST}{made.id}/bodies/").status_code == 403
    assert AuditEvent.objects.filter(kind="reveal").count() == 1


def test_bodies_are_searched_for_a_text_by_those_who_may_read_them(keeper, acme):
    hit = put(keeper, answered=bytearray(b"the Answer is 42"))
    put(keeper, answered=bytearray(b"no"))

    assert listed(member(acme, "editor").get(f"{LIST}?text=answer+is")) == [hit.id]
    assert listed(member(acme, "viewer").get(f"{LIST}?text=answer+is")) == []


def test_an_export_is_told_to_the_audit_and_holds_no_formula(root, keeper):
    put(keeper, user="=HYPERLINK(1)", tags=("+1",))
    exported = b"".join(root.get(f"{LIST}export/csv/?user=%3DHYPERLINK(1)").streaming_content).decode()

    head, row = exported.splitlines()
    assert head.startswith("call_id,at,workspace,")
    assert "'=HYPERLINK(1)" in row
    assert ",=HYPERLINK" not in row
    event = AuditEvent.objects.get(kind="export")
    assert event.actor == "root"
    assert json.loads(event.data)["search"] == "period=7d&user=%3DHYPERLINK%281%29"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_begins_like_a_formula(start):
    from audit.services.export import cell

    assert cell(f"{start}1") == f"'{start}1"
    assert cell(-1) == "-1"


def test_sessions_are_shown_with_what_their_calls_came_to(root, keeper):
    for _ in range(3):
        made = call()
        made.controls.session_id = "chat-7"
        run(carry(made, snapshot(keeper)))
    put(keeper)

    [group] = root.get(f"{LIST}sessions/").context["groups"]
    assert (group["name"], group["calls"], group["unanswered"], group["tokens"]) == ("chat-7", 3, 0, 126)
    assert group["usd"] == "0.0000594"
    page = root.get(group["url"])
    assert [call.pk for call, *_ in page.context["group"]["lines"]] == list(
        CallRecord.objects.filter(session_id="chat-7").order_by("at").values_list("pk", flat=True)
    )
    assert (page.context["group"]["cost"], page.context["group"]["calls"]) == (group["cost"], 3)
    assert root.get(f"{LIST}runs/").context["groups"] == []


def test_a_session_is_shown_to_those_alone_who_may_see_its_calls(keeper, acme, other):
    made = call()
    made.controls.session_id = "s1"
    run(carry(made, snapshot(keeper)))
    drained(keeper)
    page = f"{LIST}session/?session=s1&workspace=acme"

    assert member(acme, "viewer").get(page).status_code == 200
    assert member(other, "owner").get(page).status_code == 404
    assert member(acme, "owner").get(f"{LIST}session/").status_code == 404


def test_a_search_of_no_workspace_is_kept_for_oneself(root, acme):
    root.post(f"{LIST}save-search/", {"name": "errors", "outcome": "failed", "shared": "on"})
    assert [(each.name, each.is_shared) for each in SavedFilter.objects.all()] == [("errors", False)]


def test_a_search_can_be_saved_found_again_shared_and_forgotten(root, acme, other):
    viewer = member(acme, "viewer")
    stranger = member(other, "owner")
    fields = {"name": "errors", "outcome": "failed", "user": "ann", "workspace": "acme", "shared": "on"}
    root.post(f"{LIST}save-search/", fields)
    saved = SavedFilter.objects.get()

    assert saved.query == "period=7d&workspace=acme&user=ann&outcome=failed"
    assert [each.name for each in viewer.get(LIST).context["saved"]] == ["errors"]
    assert stranger.get(LIST).context["saved"] == []
    viewer.post(f"{LIST}forget-search/{saved.pk}/")
    assert SavedFilter.objects.count() == 1
    root.post(f"{LIST}forget-search/{saved.pk}/")
    assert SavedFilter.objects.count() == 0


def test_feedback_given_on_the_page_stands_there(root, keeper, acme):
    made = put(keeper)

    root.post(f"{LIST}{made.id}/feedback/", {"score": "-1", "comment": "wrong"})

    assert list(Feedback.objects.values_list("call_id", "score", "comment", "by")) == [(made.id, -1.0, "wrong", "root")]
    assert b"wrong" in root.get(f"{LIST}{made.id}/change/").content
    told = AuditEvent.objects.get(kind="feedback")
    assert (told.actor, told.workspace, json.loads(told.data)["call"]) == ("root", "acme", made.id)
    assert "wrong" not in told.data


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"attempts": 0, "cache": "hit-exact", "outcome": "answered"}, "The answer was kept from an earlier call"),
        ({"attempts": 0, "status": 429}, "Nothing was sent to a provider."),
        ({"attempts": 2}, "The fainter part is the wait for the first byte."),
    ],
)
def test_a_calls_page_says_whether_anything_was_sent(root, keeper, fields, told):
    made = put(keeper, **fields)
    assert told in root.get(f"{LIST}{made.id}/change/").content.decode()


def test_a_copys_page_leads_to_the_call_that_it_copies(root, keeper):
    original = put(keeper)
    copy = put(keeper, metadata={"shadow_of": original.id}, route="shadow/chat")
    forged = put(keeper, metadata={"shadow_of": original.id})

    link = f'href="{LIST}{original.id}/change/"'
    assert link in root.get(f"{LIST}{copy.id}/change/").content.decode()
    assert link not in root.get(f"{LIST}{forged.id}/change/").content.decode()


def test_answers_are_judged_by_those_who_may_read_them(keeper, acme):
    made = put(keeper)
    given = {
        role: member(acme, role).post(f"{LIST}{made.id}/feedback/", {"score": "1"}).status_code
        for role in ("owner", "editor", "reviewer", "finance", "viewer")
    }
    assert given == {"owner": 302, "editor": 302, "reviewer": 302, "finance": 403, "viewer": 403}
    assert Feedback.objects.count() == AuditEvent.objects.filter(kind="feedback").count() == 3


def test_calls_are_found_by_what_people_thought_of_them(root, keeper, acme, other):
    liked, hated, judged_elsewhere, _ = (put(keeper), put(keeper), put(keeper), put(keeper))
    for made, score in ((liked, 0.5), (hated, -1.0), (judged_elsewhere, None)):
        Feedback.objects.create(call_id=made.id, workspace_id="1", workspace="acme", score=score, label="seen")

    def found(feedback, client=root):
        return set(listed(client.get(f"{LIST}?feedback={feedback}")))

    assert found("good") == {liked.id}
    assert found("bad") == {hated.id}
    assert found("any") == {liked.id, hated.id, judged_elsewhere.id}
    assert found("any", member(other, "owner")) == set()
    assert {call.pk: call.score for call in root.get(LIST).context["page"].rows if call.score} == {
        liked.id: 0.5,
        hated.id: -1.0,
    }


def test_changes_are_for_those_who_run_a_workspace(root, acme, other):
    record_event(kind="export", workspace=acme, data={"x": 1})
    owner, viewer = member(acme, "owner"), member(acme, "viewer")
    page = "/admin/audit/auditevent/"

    assert {event.workspace for event in owner.get(page).context["page"].rows} == {"acme"}
    assert {event.workspace for event in root.get(page).context["page"].rows} == {"", "acme", "other"}
    assert viewer.get(page).status_code == 403
    elsewhere = AuditEvent.objects.filter(workspace="other").first()
    assert owner.get(f"{page}{elsewhere.pk}/change/").status_code == 404


def test_a_change_is_shown_field_by_field(root, acme):
    acme.store_bodies = True
    acme.save()
    event = AuditEvent.objects.get(kind="change", object_type="workspace")

    shown = root.get(f"/admin/audit/auditevent/{event.pk}/change/")

    assert shown.context["changes"] == [("store_bodies", "false", "true")]
