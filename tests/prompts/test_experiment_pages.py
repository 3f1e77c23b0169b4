"""An experiment from its form to its end, by role; what the form can't mean is told."""

import pytest

from prompts.models import Experiment
from prompts.queries import current_deployment
from tests.prompts.test_pages import acting, page  # noqa: F401 - a fixture

FORM = {
    "name": "shorter",
    "channel": "production",
    "name-0": "control",
    "version-0": "1",
    "weight-0": "80",
    "name-1": "short",
    "version-1": "2",
    "weight-1": "20",
    "unit": "session",
    "metric": "cost",
    "min_sample": "50",
    "guard_error_rate": "2,5",
    "guard_cost": "50",
    "eligible-field": "metadata.plan",
    "eligible-value": "pro, team",
}


def act(client, **form):
    return client.post(f"/admin/prompts/experiment/{Experiment.objects.get().pk}/act/", form, follow=True)


def test_it_is_begun_shared_out_paused_and_concluded(prompt, versions, acting):  # noqa: F811
    publisher = acting("publisher")
    assert "What decides" in publisher.get(page(prompt, "experiment/")).content.decode()
    shown = publisher.post(page(prompt, "experiment/"), FORM, follow=True).content.decode()
    row = Experiment.objects.get()
    assert (row.state, row.unit, row.metric, row.min_sample) == ("running", "session", "cost", 50)
    assert (str(row.guard_error_rate), str(row.guard_cost), row.guard_latency) == ("0.0250", "0.5000", None)
    assert row.eligible == [{"field": "metadata.plan", "one_of": ["pro", "team"]}]
    assert "only where metadata.plan one of pro, team" in shown
    assert ("No call was counted yet" in shown, "No verdict yet" in shown) == (True, True)
    assert "shorter" in publisher.get(page(prompt)).content.decode()
    before = row.shared_at
    assert (
        "must add up" in act(publisher, deed="weights", **{"weight-control": "1", "weight-short": "2"}).content.decode()
    )
    act(publisher, deed="weights", **{"weight-control": "50", "weight-short": "50"})
    row.refresh_from_db()
    assert ([arm["weight"] for arm in row.arms], row.shared_at > before) == ([5_000, 5_000], True)
    for deed, state in (("pause", "paused"), ("resume", "running")):
        act(publisher, deed=deed)
        row.refresh_from_db()
        assert row.state == state
    act(publisher, deed="conclude", winner="2", reason="cheaper")
    assert current_deployment(prompt, "production").version == versions[1]
    for deed in ("conclude", "stop", "pause"):
        assert "over already" in act(publisher, deed=deed, reason="x", winner="1").content.decode()
    assert current_deployment(prompt, "production").seq == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weight-1": "x"}, "is no share in per cent"),
        ({"weight-1": "30"}, "must add up"),
        ({"weight-1": "0.001"}, "two decimals"),
        ({"guard_cost": "much"}, "is no number of per cents"),
        ({"min_sample": "-1"}, "a whole number"),
        ({"name": ""}, "cannot be blank"),
        ({"metric": "luck"}, "not a valid choice"),
        ({"version-1": ""}, "two arms or more"),
        ({"channel": "v2"}, "reads like a version"),
    ],
)
def test_a_form_that_makes_no_experiment_says_why(prompt, versions, acting, change, told):  # noqa: F811
    shown = acting("publisher").post(page(prompt, "experiment/"), FORM | change).content.decode()
    assert told in shown
    assert Experiment.objects.count() == 0


@pytest.mark.parametrize("role", ["viewer", "editor", "reviewer"])
def test_only_publishers_experiment(prompt, versions, acting, role):  # noqa: F811
    assert acting(role).get(page(prompt, "experiment/")).status_code == 403
    acting("publisher").post(page(prompt, "experiment/"), FORM)
    url = f"/admin/prompts/experiment/{Experiment.objects.get().pk}/"
    assert acting(role).get(f"{url}change/").status_code == 200
    assert acting(role).post(f"{url}act/", {"deed": "stop", "reason": "x"}).status_code == 403
    assert "Conclude" not in acting(role).get(f"{url}change/").content.decode()
