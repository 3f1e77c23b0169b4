"""No way around what a channel asks for: neither `save()` nor the ORM nor raw SQL."""

import random

import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction

from prompts.compiler import snapshot
from prompts.models import Channel, Deployment, Experiment, Prompt, SuiteResult
from prompts.queries import current_deployment
from prompts.services.publishing import change_weights, point_channel, save_version, undo, undone
from prompts.services.reviewing import give_review, record_result
from tenants.models import Workspace
from tests.prompts.conftest import words


@pytest.fixture
def protected(prompt, versions) -> Channel:
    return Channel.objects.create(
        workspace=prompt.workspace, name="production", is_protected=True, required_approvals=2
    )


def create(prompt, version, seq, **more) -> Deployment:
    with transaction.atomic():
        return Deployment.objects.create(
            **{"prompt": prompt, "channel": "production", "seq": seq, "version": version, **more}
        )


@pytest.mark.parametrize("seq", [0, 2, 7])
def test_a_row_of_its_own_making_must_follow_the_newest(prompt, versions, seq):
    with pytest.raises(IntegrityError, match="changed meanwhile"):
        create(prompt, versions[0], seq)
    assert create(prompt, versions[0], 1).seq == 1
    with pytest.raises(IntegrityError, match=r"append-only|changed meanwhile"):
        create(prompt, versions[1], 1)
    with pytest.raises(IntegrityError, match="changed meanwhile"), transaction.atomic():
        Deployment.objects.bulk_create(
            [Deployment(prompt=prompt, channel="production", seq=each, version=versions[0]) for each in (2, 4)]
        )
    assert Deployment.objects.count() == 1


def test_another_prompts_version_is_never_served(prompt, versions):
    other = Prompt.objects.create(workspace=prompt.workspace, name="other")
    with pytest.raises(IntegrityError, match="belongs to another prompt"):
        create(other, versions[0], 1)


def test_what_was_never_served_can_not_be_put_back(prompt, versions, protected):
    with pytest.raises(IntegrityError, match="only what a channel has served"):
        create(prompt, versions[0], 1, action="rollback")


@pytest.mark.parametrize("action", ["promote", "experiment", "other"])
def test_a_protected_channel_has_its_approvals_or_nothing(prompt, versions, protected, action):
    first, second = versions

    def review(reviewer, decision="approve", channel="production", version=first):
        give_review(version=version, channel=channel, reviewer=reviewer, decision=decision, comment="c")

    def refused():
        with pytest.raises(IntegrityError, match="lacks approvals"):
            create(prompt, first, 1, action=action)

    refused()
    review("bob")
    review("bob")
    review("eve", channel="staging")
    review("eve", version=second)
    refused()
    review("eve")
    review("joe", "change")
    refused()
    review("joe")
    review("bob", "change")
    refused()
    review("bob")
    assert create(prompt, first, 1, action=action).seq == 1


def test_an_author_whose_approval_was_allowed_once_does_not_count_when_it_is_no_more(prompt, versions, protected):
    protected.required_approvals, protected.allow_self_approval = 1, True
    protected.save()
    give_review(version=versions[0], channel="production", reviewer="ada", decision="approve")
    protected.allow_self_approval = False
    protected.save()
    with pytest.raises(IntegrityError, match="lacks approvals"):
        create(prompt, versions[0], 1)
    protected.allow_self_approval = True
    protected.save()
    assert create(prompt, versions[0], 1).seq == 1


@pytest.mark.parametrize("action", ["promote", "experiment", "other"])
def test_the_database_asks_for_each_required_suite_itself(prompt, versions, protected, action):
    first, second = versions
    protected.required_suites = ["golden", 'with "quotes" and ünicode']
    protected.save()
    for reviewer in ("bob", "eve"):
        give_review(version=first, channel="production", reviewer=reviewer, decision="approve")

    def refused():
        with pytest.raises(IntegrityError, match="a suite that it requires has not passed"):
            create(prompt, first, 1, action=action)

    def result(suite, verdict="passed", version=first, **more):
        row = SuiteResult(version=version, suite=suite, digest=version.digest, verdict=verdict)
        for name, value in more.items():
            setattr(row, name, value)
        row.save()

    refused()
    result("golden")
    refused()
    result('with "quotes" and ünicode', version=second)
    refused()
    result('with "quotes" and ünicode', digest="0" * 64)
    refused()
    result('with "quotes" and ünicode')
    result("golden", "failed")
    refused()
    result("golden")
    result("golden", "outdated")
    refused()
    result("golden")
    assert create(prompt, first, 1, action=action).seq == 1


@pytest.fixture
def guarded(prompt, versions) -> Experiment:
    """An experiment on protected production whose control is approved, and whose second arm is not."""
    Channel.objects.create(workspace=prompt.workspace, name="production", is_protected=True, required_suites=["golden"])
    give_review(version=versions[0], channel="production", reviewer="bob", decision="approve")
    record_result(version=versions[0], suite="golden", verdict="passed")
    arms = [
        {"name": "control", "version": 1, "weight": 5000, "ranges": [[0, 5000]]},
        {"name": "new", "version": 2, "weight": 5000, "ranges": [[5000, 10_000]]},
    ]
    return Experiment.objects.create(prompt=prompt, name="warmth", salt="s", arms=arms)


def test_every_arm_of_an_experiment_needs_what_its_channel_asks_for(prompt, versions, guarded):
    def begin():
        return create(prompt, versions[0], 1, action="experiment", experiment=guarded)

    with pytest.raises(IntegrityError, match=r"lacks approvals|has not passed"):  # which one is asked first is open
        begin()
    give_review(version=versions[1], channel="production", reviewer="bob", decision="approve")
    with pytest.raises(IntegrityError, match="a suite that it requires has not passed"):
        begin()
    record_result(version=versions[1], suite="golden", verdict="passed")
    assert begin().seq == 1


def test_an_experiment_that_has_begun_keeps_its_versions_and_may_share_out_anew(prompt, versions, guarded):
    third = save_version(prompt=prompt, words=words("three {{x}}"))
    guarded.arms[1]["version"] = 1  # before it begins they may change
    guarded.save()
    create(prompt, versions[0], 1, action="experiment", experiment=guarded)

    for change in ({"version": third.number}, {"version": 2}):
        other = Experiment.objects.get(pk=guarded.pk)
        other.arms[1] |= change
        with pytest.raises(IntegrityError, match="keeps its versions"), transaction.atomic():
            other.save()
    other = Experiment.objects.get(pk=guarded.pk)
    other.channel = "staging"
    with pytest.raises(IntegrityError, match="keeps its versions"), transaction.atomic():
        other.save()
    change_weights(experiment=guarded, weights={"control": 1000, "new": 9000})
    assert [arm["weight"] for arm in Experiment.objects.get().arms] == [1000, 9000]


def test_a_list_of_suites_that_can_not_be_read_lets_nothing_through(prompt, versions, protected):
    protected.required_suites = {"golden": True}
    protected.save()
    for reviewer in ("bob", "eve"):
        give_review(version=versions[0], channel="production", reviewer=reviewer, decision="approve")
    with pytest.raises(DatabaseError):
        create(prompt, versions[0], 1)


def test_raw_sql_is_refused_too(prompt, versions, protected):
    row = Deployment(prompt=prompt, channel="production", seq=1, version=versions[0], action="promote")
    columns = [field for field in Deployment._meta.concrete_fields if field.column != "id"]
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for field in columns]
    names, marks = ", ".join(f.column for f in columns), ", ".join("%s" for _ in columns)
    statement = f"INSERT INTO prompts_deployment ({names}) VALUES ({marks})"
    with (
        pytest.raises(IntegrityError, match="lacks approvals"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement, values)
    protected.delete()
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
    assert Deployment.objects.get().version == versions[0]


def test_every_moment_of_any_sequence_can_be_told_from_the_history(prompt, versions):
    versions = [*versions, save_version(prompt=prompt, words=words("three {{x}}"))]
    chance = random.Random(8)
    told = []
    for _ in range(60):
        channel = chance.choice(["production", "staging"])
        deed = chance.choice(["promote", "promote", "undo", "withdraw"])
        newest = current_deployment(prompt, channel)
        if deed == "undo" and (newest is None or undone(newest) is None):
            continue
        if deed == "undo":
            undo(prompt=prompt, channel=channel, actor="a", reason="r")
        else:
            version = chance.choice(versions) if deed == "promote" else None
            point_channel(prompt=prompt, channel=channel, version=version, actor="a")
        served = snapshot().prompts[str(prompt.workspace_id)]["summary"].channels
        told.append((Deployment.objects.latest("id").pk, {name: view.version for name, view in served.items()}))
    for last, served in told:
        said: dict[str, int | None] = {}
        for row in Deployment.objects.filter(pk__lte=last).order_by("id"):
            said[row.channel] = row.version.number if row.version else None
        assert {name: number for name, number in said.items() if number} == served


@pytest.mark.django_db(transaction=True)
def test_the_rules_step_aside_for_a_migration_and_are_put_back(settings):
    call_command("migrate", "prompts", "0005", verbosity=0)
    call_command("migrate", verbosity=0)
    made = Prompt.objects.create(workspace=Workspace.objects.create(name="acme"), name="summary")
    version = save_version(prompt=made, words=words("one"))
    with pytest.raises(IntegrityError, match="changed meanwhile"):
        create(made, version, 3)
