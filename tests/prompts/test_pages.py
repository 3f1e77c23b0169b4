"""The pages a product manager lives in, by role: what is live, undo, the editor, differences, reviews."""

import json

import pytest
from django.contrib.auth.models import User
from django.test import Client

from prompts.admin.differences import compared
from prompts.models import Channel, Experiment, Prompt, PromptDraft
from prompts.queries import current_deployment
from prompts.services.publishing import point_channel, save_version, start_experiment, stop_experiment
from prompts.services.reviewing import ask_for_review, give_review
from tenants.models import Member, Workspace
from tests.prompts.conftest import words

EVIL = "<script>alert(1)</script>{{x}}"


@pytest.fixture
def acting(prompt):
    def client(role: str) -> Client:
        user, made = User.objects.get_or_create(username=role, defaults={"is_staff": True})
        if made:
            Member.objects.create(workspace=prompt.workspace, user=user, role=role)
        browser = Client()
        browser.force_login(user)
        return browser

    return client


def page(prompt, rest="change/") -> str:
    return f"/admin/prompts/prompt/{prompt.pk}/{rest}"


def put(client, prompt, deed, body):
    return client.post(page(prompt, f"write/{deed}/"), json.dumps(body), content_type="application/json")


def test_undo_is_a_reason_and_one_button(prompt, versions, acting):
    for version in versions:
        point_channel(prompt=prompt, channel="production", version=version)
    publisher = acting("publisher")
    shown = publisher.get(page(prompt)).content.decode()
    assert shown.count("Put back v1") == 1
    form = {"deed": "undo", "channel": "production", "seq": "2", "reason": "worse"}
    publisher.post(page(prompt, "channel/"), form)
    assert current_deployment(prompt, "production").version == versions[0]
    told = publisher.post(page(prompt, "channel/"), form, follow=True).content.decode()
    assert "Somebody else changed production" in told
    assert current_deployment(prompt, "production").seq == 3


def test_whoever_publishes_from_a_page_that_is_old_is_told_instead_of_crossing_somebody(prompt, versions, acting):
    publisher = acting("publisher")
    shown = publisher.get(page(prompt)).content.decode()
    assert '<input type="hidden" name="seq-production" value="0">' in shown
    point_channel(prompt=prompt, channel="production", version=versions[1], actor="somebody else")
    form = {"deed": "publish", "channel": "production", "version": "1", "seq-production": "0", "seq-staging": "0"}
    told = publisher.post(page(prompt, "channel/"), form, follow=True).content.decode()
    assert "Somebody else changed production meanwhile" in told
    assert current_deployment(prompt, "production").version == versions[1]
    publisher.post(page(prompt, "channel/"), form | {"channel": "staging"})
    assert current_deployment(prompt, "staging").version == versions[0]


def test_the_words_that_differ_are_marked_and_lines_that_share_little_are_not(prompt):
    lines = compared("You are kind.\nBe brief", "You are very kind.\nSomething else entirely")
    assert [(line.kind, line.text) for line in lines] == [
        ("gone", "You are kind."),
        ("gone", "Be brief"),
        ("new", "You are very kind."),
        ("new", "Something else entirely"),
    ]
    assert lines[0].pieces == (("You are ", False), ("kind.", False))
    assert lines[2].pieces == (("You are ", False), ("very ", True), ("kind.", False))
    assert lines[3].pieces == (("Something else entirely", False),)
    assert [line.kind for line in compared("a\nb", "a\nx\ny\nb")] == ["same", "new", "new", "same"]


def test_a_version_is_published_and_withdrawn(prompt, versions, acting):
    publisher = acting("publisher")
    publisher.post(page(prompt, "channel/"), {"deed": "publish", "channel": "staging", "version": "2"})
    assert current_deployment(prompt, "staging").version == versions[1]
    publisher.post(page(prompt, "channel/"), {"deed": "withdraw", "channel": "staging"})
    assert current_deployment(prompt, "staging").version is None


@pytest.mark.parametrize("role", ["viewer", "editor", "reviewer"])
def test_only_publishers_publish(prompt, versions, acting, role):
    form = {"deed": "publish", "channel": "production", "version": "1"}
    assert acting(role).post(page(prompt, "channel/"), form).status_code == 403
    assert "Publish v1" not in acting(role).get(page(prompt)).content.decode()


@pytest.mark.parametrize("rest", ["change/", "write/", "diff/?b=1", "review/1/"])
def test_another_workspaces_prompt_is_not_found(versions, acting, rest):
    theirs = Prompt.objects.create(workspace=Workspace.objects.create(name="umbra"), name="theirs")
    save_version(prompt=theirs, words=words("x"))
    assert acting("publisher").get(page(theirs, rest)).status_code == 404


def test_a_draft_is_previewed_kept_and_saved(prompt, versions, acting):
    editor = acting("editor")
    said = {"words": {"messages": [{"role": "user", "content": "Hi {{name}}"}]}, "sample": {"name": EVIL}}
    shown = put(editor, prompt, "preview", said).json()
    assert shown["messages"] == [{"role": "user", "content": f"Hi {EVIL}"}]
    assert (shown["inputs"], shown["tokens"] > 5) == (["name"], True)
    assert "It needs an input" in put(editor, prompt, "preview", {"words": said["words"]}).json()["errors"][0]
    assert put(editor, prompt, "draft", said | {"rev": 0, "base": 2}).json() == {"rev": 1}
    assert put(editor, prompt, "draft", said | {"rev": 0}).status_code == 409
    assert EVIL not in editor.get(page(prompt, "write/")).content.decode()
    assert put(editor, prompt, "save", said | {"base": 2}).status_code == 400
    assert put(editor, prompt, "save", said | {"base": 1, "message": "m"}).status_code == 409
    assert put(editor, prompt, "save", said | {"base": 2, "message": "m"}).json()["number"] == 3
    assert PromptDraft.objects.count() == 0
    again = put(editor, prompt, "save", said | {"base": 3, "message": "m"})
    assert (again.status_code, again.json()["errors"]) == (400, ["Nothing differs from version 3."])
    assert prompt.versions.count() == 3


@pytest.mark.parametrize(
    "body", ["{", "[]", '{"words": 1}', '{"words": {"messages": [1]}}', '{"words": {"messages": []}}']
)
def test_what_the_editor_can_not_read_is_told(prompt, acting, body):
    answer = acting("editor").post(page(prompt, "write/preview/"), body, content_type="application/json")
    assert (answer.status_code, len(answer.json()["errors"])) == (400, 1)


def test_differences_show_messages_and_settings_and_run_nothing(prompt, versions, acting):
    save_version(prompt=prompt, words=words(EVIL, parameters={"temperature": 1}))
    shown = acting("viewer").get(page(prompt, "diff/?a=2&b=3")).content.decode()
    shown = shown.replace("<mark>", "").replace("</mark>", "")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{x}}" in shown
    assert (EVIL in shown, "Parameters" in shown) == (False, True)
    assert acting("viewer").get(page(prompt, "diff/?a=99&b=1")).status_code == 404


def test_a_review_lets_a_version_onto_a_protected_channel(prompt, versions, acting):
    Channel.objects.create(workspace=prompt.workspace, name="production", is_protected=True)
    url = page(prompt, "review/1/")
    assert "needs 1 more approval" in acting("publisher").get(url).content.decode()
    acting("editor").post(url, {"decision": "ask", "comment": "please"})
    assert acting("editor").post(url, {"decision": "approve"}).status_code == 403
    acting("reviewer").post(url, {"decision": "approve", "comment": "good"})
    shown = acting("publisher").get(url).content.decode()
    assert ("Nothing keeps it off production" in shown, "editor asks for a review: please" in shown) == (True, True)
    acting("publisher").post(page(prompt, "channel/"), {"deed": "publish", "channel": "production", "version": "1"})
    assert current_deployment(prompt, "production").approvals == ["reviewer"]


def test_the_list_says_what_is_live_where(prompt, versions, acting):
    point_channel(prompt=prompt, channel="production", version=versions[1])
    assert "production v2" in acting("viewer").get("/admin/prompts/prompt/").content.decode()


def test_what_people_write_runs_in_no_page(prompt, ada, acting):
    prompt.description = EVIL
    prompt.save()
    for text in (EVIL, f"{EVIL} again"):
        save_version(prompt=prompt, words=words(text, route=EVIL), message=EVIL, author=ada)
    first, _second = prompt.versions.order_by("number")
    ask_for_review(version=first, channel="production", asked_by="ada", note=EVIL)
    give_review(version=first, channel="production", reviewer="bob", decision="change", comment=EVIL)
    point_channel(prompt=prompt, channel=EVIL, version=first, actor=EVIL, reason=EVIL)
    arms = [{"name": "a", "version": 1, "weight": 5_000}, {"name": "b", "version": 2, "weight": 5_000}]
    begun = Experiment(prompt=prompt, name="e", arms=arms)
    start_experiment(experiment=begun, actor=EVIL, reason=EVIL)
    stop_experiment(experiment=begun, actor=EVIL, reason=EVIL)
    owner = acting("owner")
    owner.post(
        page(prompt, "write/draft/"),
        json.dumps({"words": {"messages": [{"role": EVIL, "content": EVIL}]}}),
        "application/json",
    )
    pages = [
        page(prompt, rest) for rest in ("change/", "write/", "diff/?a=1&b=2", "review/1/", "experiment/", "history/")
    ]
    pages += [f"/admin/prompts/experiment/{begun.pk}/change/", "/admin/prompts/experiment/", "/admin/prompts/prompt/"]
    for url in pages:
        answer = owner.get(url)
        assert answer.status_code == 200, url
        assert "<script>alert" not in answer.content.decode(), url
    assert "alert(1)" in owner.get(pages[0]).content.decode()
