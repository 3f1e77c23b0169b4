"""How alike two texts are to a route, and the threshold that judged pairs suggest."""

import json
from pathlib import Path

import pytest

from gateway.models import Judgement, ServedModel
from gateway.services.likeness import LikenessUnknown, Suggestion, judge, judged_pairs, likeness_of, suggested
from tests import rows
from tests.gateway.caching import tiny_model
from tests.upstream.server import Upstream


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], None),
        ([(0.9, True)] * 3, None),
        # Apart: the highest threshold that loses no right one stands between them.
        ([(0.95, True), (0.93, True), (0.8, False), (0.7, False)], Suggestion(0.801, 0, 0, 4)),
        # Mixed: a wrong answer is worth five that are asked anew, six are worth more.
        ([(0.9, False), *[(0.88, True)] * 4, (0.95, True)], Suggestion(0.901, 0, 4, 6)),
        ([(0.9, False), *[(0.88, True)] * 6, (0.95, True)], Suggestion(0.5, 1, 0, 8)),
        ([(0.9, False)] * 4, Suggestion(1.0, 0, 0, 4)),
    ],
)
def test_the_suggested_threshold_weighs_wrong_answers_against_missed_ones(pairs, expected) -> None:
    assert suggested(pairs) == expected


@pytest.mark.django_db
def test_a_pair_is_compared_by_the_local_model_or_by_the_configurations(settings, tmp_path: Path) -> None:
    platform = rows.platform()
    with pytest.raises(LikenessUnknown, match="There is no embedding model: add a model of the kind"):
        likeness_of(route=platform.route, one="how do i reset it", other="weather")
    settings.EMBEDDING_MODEL_DIR = str(tiny_model.make(tmp_path / "tiny"))
    assert likeness_of(route=platform.route, one="how do i", other="how do i") == pytest.approx(1.0, abs=1e-4)
    settings.EMBEDDING_MODEL_DIR = str(tmp_path / "gone")
    with pytest.raises(LikenessUnknown, match=r"config\.json is not there"):
        likeness_of(route=platform.route, one="a", other="b")


@pytest.mark.django_db
def test_an_embedding_model_of_the_configuration_is_asked_for_both_texts() -> None:
    answer = {"object": "list", "model": "e", "data": [{"object": "embedding", "index": 0, "embedding": [3.0, 4.0]}]}
    with Upstream() as upstream:
        platform = rows.platform(name="vectors", kind="openai", base_url=upstream.url)
        ServedModel.objects.create(name="e", provider=platform.provider, upstream="embed-test", kind="embedding")
        upstream.for_model("embed-test", fault="raw", status=200, body=json.dumps(answer))
        assert likeness_of(route=platform.route, one="a", other="b") == 1.0
        assert [reading.body["input"] for reading in upstream.meter.readings] == ["a", "b"]
        upstream.for_model("embed-test", fault="status", status=500)
        with pytest.raises(LikenessUnknown, match="e gave no vector"):
            likeness_of(route=platform.route, one="a", other="b")


@pytest.mark.django_db
def test_the_last_word_on_a_call_counts_and_each_workspace_judges_for_itself() -> None:
    route, acme, umbra = rows.platform().route, rows.tenant("acme"), rows.tenant("umbra")
    for is_same in (True, False):
        judge(route=route, likeness=0.91, is_same=is_same, by=None, call_id="c1", workspace=acme.workspace)
    judge(route=route, likeness=0.97, is_same=True, by=None, call_id="c2", workspace=umbra.workspace)
    judge(route=route, likeness=0.5, is_same=False, by=None)
    judge(route=route, likeness=0.6, is_same=False, by=None)
    assert Judgement.objects.count() == 4
    assert judged_pairs(route=route, workspace_ids=[acme.workspace.pk]) == [(0.91, False)]
    assert sorted(judged_pairs(route=route, workspace_ids=None)) == [
        (0.5, False),
        (0.6, False),
        (0.91, False),
        (0.97, True),
    ]
