"""What channels serve: rules, races, undo, experiments; and a history that tells all of it."""

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from audit.models import AuditEvent
from prompts.compiler import snapshot
from prompts.models import Approval, Channel, Deployment, Experiment
from prompts.queries import current_deployment
from prompts.services.publishing import (
    Crossed,
    conclude_experiment,
    point_channel,
    roll_back,
    save_version,
    start_experiment,
    undo,
    undone,
)
from prompts.services.reviewing import ask_for_review, give_review, record_result
from tests.prompts.conftest import words


def serves(prompt, channel="production") -> int | None:
    view = snapshot().prompts[str(prompt.workspace_id)][prompt.name].channels.get(channel)
    return None if view is None else view.version


def test_any_sequence_can_be_told_from_the_history(prompt, versions):
    first, second = versions
    point_channel(prompt=prompt, channel="production", version=first, actor="ada")
    point_channel(prompt=prompt, channel="production", version=second, actor="ada")
    undo(prompt=prompt, channel="production", actor="bob", reason="worse")
    assert serves(prompt) == 1
    undo(prompt=prompt, channel="production", actor="bob", reason="it was not")
    assert serves(prompt) == 2
    point_channel(prompt=prompt, channel="production", version=None, actor="ada")
    assert serves(prompt) is None
    undo(prompt=prompt, channel="production", actor="ada", reason="back")
    told = [(d.seq, d.action, d.version and d.version.number, d.actor) for d in prompt.deployments.order_by("seq")]
    assert told == [
        (1, "promote", 1, "ada"),
        (2, "promote", 2, "ada"),
        (3, "rollback", 1, "bob"),
        (4, "rollback", 2, "bob"),
        (5, "withdraw", None, "ada"),
        (6, "rollback", 2, "ada"),
    ]


def test_a_rollback_needs_a_reason_and_a_version_that_was_served(prompt, versions):
    point_channel(prompt=prompt, channel="production", version=versions[0])
    with pytest.raises(ValidationError, match="Say why"):
        roll_back(prompt=prompt, channel="production", version=versions[0], actor="a", reason=" ")
    with pytest.raises(ValidationError, match="has never served summary@2"):
        roll_back(prompt=prompt, channel="production", version=versions[1], actor="a", reason="r")
    with pytest.raises(ValidationError, match="nothing before"):
        undo(prompt=prompt, channel="production", actor="a", reason="r")


def test_of_two_who_saw_the_same_the_second_is_told(prompt, versions):
    point_channel(prompt=prompt, channel="production", version=versions[0], expected_seq=0)
    with pytest.raises(Crossed, match="Somebody else changed production"):
        point_channel(prompt=prompt, channel="production", version=versions[1], expected_seq=0)
    assert serves(prompt) == 1


@pytest.mark.parametrize("name", ["2", "v2", ""])
def test_a_channel_is_not_named_like_a_version(prompt, versions, name):
    with pytest.raises(ValidationError):
        point_channel(prompt=prompt, channel=name, version=versions[0])


def test_a_protected_channel_needs_somebody_elses_approval_of_these_words(prompt, versions):
    Channel.objects.create(workspace=prompt.workspace, name="production", is_protected=True)
    first, second = versions
    ask_for_review(version=first, channel="production", asked_by="ada")
    with pytest.raises(ValidationError, match="needs 1 more approval by somebody other"):
        point_channel(prompt=prompt, channel="production", version=first)
    with pytest.raises(ValidationError, match="author can't approve"):
        give_review(version=first, channel="production", reviewer="ada", decision="approve")
    give_review(version=first, channel="production", reviewer="bob", decision="approve")
    with pytest.raises(ValidationError, match="Say what should change"):
        give_review(version=first, channel="production", reviewer="eve", decision="change")
    give_review(version=first, channel="production", reviewer="eve", decision="change", comment="Too long")
    with pytest.raises(ValidationError, match="eve asked for changes"):
        point_channel(prompt=prompt, channel="production", version=first)
    give_review(version=first, channel="production", reviewer="eve", decision="approve")
    assert point_channel(prompt=prompt, channel="production", version=first).approvals == ["bob", "eve"]
    with pytest.raises(ValidationError, match="summary@2 needs 1 more"):
        point_channel(prompt=prompt, channel="production", version=second)


def test_a_rollback_on_a_protected_channel_needs_no_new_approval(prompt, versions):
    for version in versions:
        point_channel(prompt=prompt, channel="production", version=version)
    Channel.objects.create(workspace=prompt.workspace, name="production", is_protected=True)
    undo(prompt=prompt, channel="production", actor="a", reason="broken")
    assert serves(prompt) == 1


@pytest.fixture
def demanding(prompt) -> Channel:
    """Production asks for the suites golden and safety, and its author may approve."""
    return Channel.objects.create(
        workspace=prompt.workspace,
        name="production",
        is_protected=True,
        allow_self_approval=True,
        required_suites=["golden", "safety"],
    )


def publish(version):
    give_review(version=version, channel="production", reviewer="ada", decision="approve")
    return point_channel(prompt=version.prompt, channel="production", version=version)


def test_a_required_suite_blocks_until_its_newest_run_has_passed_and_says_why(prompt, versions, demanding):
    first, second = versions

    def said() -> list[str]:
        with pytest.raises(ValidationError) as refused:
            publish(first)
        return refused.value.messages

    golden = "production requires the suite golden to pass for summary@1, and"
    safety = "production requires the suite safety to pass for summary@1, and it has not been run for summary@1."
    assert said() == [f"{golden} it has not been run for summary@1.", safety]
    record_result(version=first, suite="golden", verdict="failed", told="2 of 9 cases failed.")
    record_result(version=second, suite="safety", verdict="passed")
    assert said() == [f"{golden} its newest run failed: 2 of 9 cases failed.", safety]
    record_result(version=first, suite="golden", verdict="passed")
    assert said() == [safety]
    record_result(version=first, suite="safety", verdict="passed")
    record_result(version=first, suite="golden", verdict="outdated")
    assert said() == [f"{golden} the suite was changed since it passed."]
    record_result(version=first, suite="golden", verdict="passed")
    assert publish(first).seq == 1


def test_a_rollback_needs_no_suite(prompt, versions, demanding):
    for version in versions:
        for suite in ("golden", "safety"):
            record_result(version=version, suite=suite, verdict="passed")
        publish(version)
    record_result(version=versions[0], suite="golden", verdict="failed")
    undo(prompt=prompt, channel="production", actor="a", reason="broken")
    assert serves(prompt) == 1


def test_a_partial_is_pinned_and_moving_it_changes_no_parent(prompt, ada):
    tone = type(prompt).objects.create(workspace=prompt.workspace, name="tone")
    save_version(prompt=tone, words=words("Be {{mood}}."))
    parent = save_version(prompt=prompt, words=words("{{>tone}} Say {{x}}"))
    digest = parent.digest
    later = save_version(prompt=tone, words=words("Be loud."))
    point_channel(prompt=tone, channel="production", version=later)
    parent.refresh_from_db()
    assert (parent.digest, parent.resolved) == (digest, [{"role": "user", "content": "Be {{mood}}. Say {{x}}"}])
    assert parent.pins["tone"]["version"] == 1
    view = snapshot().prompts[str(prompt.workspace_id)]["summary"].versions[1]
    assert view.render({"mood": "kind", "x": "hi"}, []) == [{"role": "user", "content": "Be kind. Say hi"}]
    again = save_version(prompt=prompt, words=words("{{>tone}} Say {{x}}"))
    assert again.resolved == [{"role": "user", "content": "Be loud. Say {{x}}"}]
    with pytest.raises(ValidationError, match="no prompt nothing"):
        save_version(prompt=prompt, words=words("{{>nothing}}"))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (words("{{x"), "messages"),
        (words("x", parameters={"model": "m"}), "parameters"),
        (words("x", input_schema={"type": "nonsense"}), "input_schema"),
        (words("x", input_schema={"$ref": "http://127.0.0.1:1/"}), "input_schema"),
    ],
)
def test_words_that_can_not_be_rendered_are_not_saved(prompt, given, field):
    with pytest.raises(ValidationError) as refused:
        save_version(prompt=prompt, words=given)
    assert list(refused.value.message_dict) == [field]
    assert prompt.versions.count() == 0


def experiment(prompt, name="shorter", treatment=2_000) -> Experiment:
    arms = [
        {"name": "control", "version": 1, "weight": 10_000 - treatment},
        {"name": "short", "version": 2, "weight": treatment},
    ]
    return Experiment(prompt=prompt, name=name, arms=arms)


def test_an_experiment_serves_its_arms_until_it_is_concluded(prompt, versions):
    start_experiment(experiment=experiment(prompt), actor="ada")
    view = snapshot().prompts[str(prompt.workspace_id)]["summary"].channels["production"]
    assert [(arm.name, arm.version, arm.ranges) for arm in view.experiment.arms] == [
        ("control", 1, ((0, 8_000),)),
        ("short", 2, ((8_000, 10_000),)),
    ]
    with pytest.raises(ValidationError, match="open on this channel"):
        start_experiment(experiment=experiment(prompt, "other"), actor="ada")
    conclude_experiment(experiment=Experiment.objects.get(), winner=2, actor="ada", reason="better")
    assert (serves(prompt), Experiment.objects.get().state) == (2, "concluded")


def test_a_rollback_ends_a_running_experiment_in_the_same_transaction(prompt, versions):
    point_channel(prompt=prompt, channel="production", version=versions[0])
    start_experiment(experiment=experiment(prompt), actor="ada")
    roll_back(prompt=prompt, channel="production", version=versions[0], actor="ada", reason="errors")
    row = Experiment.objects.get()
    assert (row.state, row.outcome, row.ended_at is None) == ("aborted", "errors", False)
    assert current_deployment(prompt, "production").action == "rollback"
    assert undone(current_deployment(prompt, "production")) is None


APPENDED = ("prompts_promptversion", "prompts_approval", "prompts_suiteresult", "prompts_deployment")


@pytest.mark.parametrize("table", APPENDED)
@pytest.mark.parametrize("deed", ["UPDATE {} SET id = id", "DELETE FROM {}"])
def test_the_database_refuses_to_change_what_was_said_or_served(prompt, versions, table, deed):
    point_channel(prompt=prompt, channel="production", version=versions[0])
    give_review(version=versions[0], channel="production", reviewer="bob", decision="approve")
    record_result(version=versions[0], suite="golden", verdict="passed")
    with pytest.raises(Exception, match="append-only"), connection.cursor() as cursor:
        cursor.execute(deed.format(table))


@pytest.mark.parametrize("model", [Approval, Deployment])
def test_the_orm_is_refused_too(prompt, versions, model):
    point_channel(prompt=prompt, channel="production", version=versions[0])
    give_review(version=versions[0], channel="production", reviewer="bob", decision="approve")
    record_result(version=versions[0], suite="golden", verdict="passed")
    with pytest.raises(Exception, match="append-only"):
        model.objects.update(channel="staging")


def test_what_is_said_of_a_version_stands_in_its_workspaces_trail(prompt, versions):
    give_review(version=versions[0], channel="production", reviewer="bob", decision="approve")
    record_result(version=versions[0], suite="golden", verdict="passed", run="r1")
    told = AuditEvent.objects.filter(object_type__in=["approval", "suiteresult", "suite result"]).order_by("id")
    assert {event.workspace for event in told} == {"acme"}
    assert told.count() == 2
