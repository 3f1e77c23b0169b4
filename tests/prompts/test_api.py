"""Prompts over /api/: save, publish, undo, review and read, by role."""

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from prompts.models import Channel
from tenants.models import Member


@pytest.fixture
def acting(prompt):
    def client(role: str) -> APIClient:
        user, made = User.objects.get_or_create(username=role)
        if made:
            Member.objects.create(workspace=prompt.workspace, user=user, role=role)
        api = APIClient()
        api.force_authenticate(user)
        return api

    return client


def test_a_version_is_saved_published_and_undone(prompt, acting):
    editor, publisher, url = acting("editor"), acting("publisher"), f"/api/prompts/{prompt.pk}/"
    for text in ("a", "b"):
        body = {"messages": [{"role": "user", "content": text}], "message": text}
        saved = editor.post(f"{url}versions/", body, format="json")
        assert (saved.status_code, saved.json()["message"]) == (201, text)
    assert editor.post(f"{url}deploy/", {"version": 1}, format="json").status_code == 403
    for number in (1, 2):
        assert publisher.post(f"{url}deploy/", {"version": number}, format="json").status_code == 201
    crossed = publisher.post(f"{url}deploy/", {"version": 1, "expected_seq": 1}, format="json")
    assert crossed.status_code == 409
    undone = publisher.post(f"{url}undo/", {"reason": "worse", "expected_seq": 2}, format="json")
    assert (undone.status_code, undone.json()["version"], undone.json()["action"]) == (201, 1, "rollback")
    assert publisher.post(f"{url}deploy/", {"version": 9}, format="json").status_code == 404
    assert publisher.post(f"{url}deploy/", {"version": None}, format="json").json()["action"] == "withdraw"
    assert editor.get(f"{url}served/").status_code == 404


def test_what_is_wrong_with_a_version_is_said_by_field(prompt, acting):
    body = {"messages": [{"role": "user", "content": "{{x"}], "message": "m"}
    refused = acting("editor").post(f"/api/prompts/{prompt.pk}/versions/", body, format="json")
    assert refused.status_code == 400
    assert refused.json()["messages"] == [
        "Message 1, line 1: {{ opens a tag that is not closed; write \\{{ for braces."
    ]


def test_a_reviewer_approves_and_others_can_not(prompt, versions, acting):
    Channel.objects.create(workspace=prompt.workspace, name="production", is_protected=True)
    url = f"/api/prompts/{prompt.pk}/"
    refused = acting("publisher").post(f"{url}deploy/", {"version": 1}, format="json")
    assert refused.status_code == 400
    said = {"version": 1, "decision": "approve"}
    assert acting("publisher").post(f"{url}review/", said, format="json").status_code == 403
    assert acting("reviewer").post(f"{url}review/", said, format="json").status_code == 201
    published = acting("publisher").post(f"{url}deploy/", {"version": 1}, format="json")
    assert (published.status_code, published.json()["approvals"]) == (201, ["reviewer"])


def test_what_is_served_is_read_with_an_etag(prompt, versions, acting):
    publisher, url = acting("publisher"), f"/api/prompts/{prompt.pk}/"
    publisher.post(f"{url}deploy/", {"version": 1}, format="json")
    first = acting("viewer").get(f"{url}served/")
    assert (first.status_code, first.headers["etag"]) == (200, f'"{versions[0].digest}"')
    assert first.json()["messages"] == versions[0].messages
    again = acting("viewer").get(f"{url}served/?channel=production", HTTP_IF_NONE_MATCH=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    publisher.post(f"{url}deploy/", {"version": 2}, format="json")
    assert acting("viewer").get(f"{url}served/", HTTP_IF_NONE_MATCH=first.headers["etag"]).status_code == 200


def test_an_experiment_is_started_weighed_and_concluded(prompt, versions, acting):
    arms = [{"name": "control", "version": 1, "weight": 9_000}, {"name": "short", "version": 2, "weight": 1_000}]
    body = {"name": "shorter", "unit": "user", "arms": arms}
    publisher, url = acting("publisher"), f"/api/prompts/{prompt.pk}/experiment/"
    assert acting("editor").post(url, body, format="json").status_code == 403
    started = publisher.post(url, body, format="json")
    assert (started.status_code, [arm["ranges"] for arm in started.json()["arms"]]) == (
        201,
        [[[0, 9_000]], [[9_000, 10_000]]],
    )
    assert publisher.post(url, body | {"name": "other"}, format="json").status_code == 400
    one = f"/api/experiments/{started.json()['id']}/"
    weighed = publisher.post(f"{one}weights/", {"weights": {"control": 8_000, "short": 2_000}}, format="json")
    assert [arm["ranges"] for arm in weighed.json()["arms"]] == [[[0, 8_000]], [[9_000, 10_000], [8_000, 9_000]]]
    wrong = publisher.post(f"{one}weights/", {"weights": {"control": 1, "short": 2}}, format="json")
    assert (wrong.status_code, wrong.json()) == (
        400,
        {"arms": ["The weights must add up to 10000 basis points, not 3."]},
    )
    ended = publisher.post(f"{one}conclude/", {"winner": 2, "reason": "shorter"}, format="json")
    assert (ended.status_code, ended.json()["version"]) == (201, 2)
    assert publisher.post(f"{one}conclude/", {"reason": "again"}, format="json").status_code == 409
    assert publisher.get(one).json()["state"] == "concluded"


def test_an_editor_asks_for_a_review_and_a_viewer_may_not(prompt, versions, acting):
    url, told = f"/api/prompts/{prompt.pk}/ask-for-review/", {"version": 1, "note": "please"}
    assert acting("viewer").post(url, told, format="json").status_code == 403
    assert acting("editor").post(url, told, format="json").status_code == 201
    assert [(row.asked_by, row.note, row.channel) for row in versions[0].reviews.all()] == [
        ("editor", "please", "production")
    ]
    assert acting("editor").post(url, {"version": 9}, format="json").status_code == 404


def test_what_calls_came_to_and_what_they_would_cost_is_told_to_members_only(prompt, versions, acting):
    editor = acting("editor")
    used = editor.get(f"/api/prompts/{prompt.pk}/usage/").json()
    assert [(row["version"], row["calls"], row["cost_usd"]) for row in used["versions"]] == [(2, 0, "0"), (1, 0, "0")]
    assert editor.get(f"/api/prompts/{prompt.pk}/usage/?days=x").status_code == 400
    assert editor.get("/api/cost-estimate/?model=nothing&input_tokens=10").json() == {"models": []}
    assert editor.get("/api/cost-estimate/?model=chat&input_tokens=-1").status_code == 400
    stranger = APIClient()
    stranger.force_authenticate(User.objects.create(username="stranger"))
    for path in (f"prompts/{prompt.pk}/usage/", "cost-estimate/?model=chat", "experiments/1/figures/"):
        assert stranger.get(f"/api/{path}").status_code in (403, 404)


def test_an_experiments_figures_are_told_and_it_is_paused_and_stopped(prompt, versions, acting):
    publisher = acting("publisher")
    arms = [{"name": "a", "version": 1, "weight": 5_000}, {"name": "b", "version": 2, "weight": 5_000}]
    begun = publisher.post(f"/api/prompts/{prompt.pk}/experiment/", {"name": "e", "arms": arms}, format="json").json()
    url = f"/api/experiments/{begun['id']}/"
    told = publisher.get(f"{url}figures/").json()
    assert (told["winner"], told["split_is_right"], [arm["units"] for arm in told["arms"]]) == ("", True, [0, 0])
    assert acting("editor").post(f"{url}pause/").status_code == 403
    assert publisher.post(f"{url}pause/").json()["state"] == "paused"
    assert publisher.post(f"{url}resume/").json()["state"] == "running"
    assert publisher.post(f"{url}stop/", {"reason": "enough"}, format="json").json()["version"] == 1
    assert publisher.post(f"{url}stop/", {"reason": "enough"}, format="json").status_code == 409
    assert publisher.post(f"{url}pause/").status_code == 400
