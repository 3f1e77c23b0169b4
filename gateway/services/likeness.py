"""How alike two texts are to a route's semantic cache, what people said of such pairs, and the threshold that follows."""

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings

from gateway.caching.embedding import Vector, embedder_of, vector_in
from gateway.caching.local import LocalModel, NoLocalModel, load
from gateway.compiler import served_models
from gateway.core.call import Target
from gateway.core.errors import GatewayError
from gateway.models import Judgement, Route
from gateway.providers import demo, provider_of
from gateway.providers.fields import outgoing
from gateway.routing.send import Upstream
from gateway.snapshot import RoutesSnapshot, Timeouts
from tenants.models import Workspace

TRIAL_TIMEOUTS = Timeouts(connect=2.0, first_byte=10.0, first_token=10.0, idle=10.0, total=10.0)
WRONG_COUNTS = 5  # a wrong answer is as bad as so many questions that are asked anew
LEAST_JUDGED = 4
JUDGED_MOST = 2_000


class LikenessUnknown(Exception):
    """Two texts can't be compared. The message says why and what to do."""


class Suggestion(NamedTuple):
    """A threshold, and how it would have done on the judged pairs: wrong ones above it, right ones below it."""

    threshold: float
    wrong: int
    missed: int
    judged: int


def likeness_of(*, route: Route, one: str, other: str) -> float:
    """The cosine of two texts' vectors by the route's embedding model. Raises LikenessUnknown.

    An embedding model of the configuration is asked over the network; its charge belongs to no workspace.
    """
    embedder = embedder_for(route)
    if isinstance(embedder, LocalModel):
        vectors = [embedder.vector(one), embedder.vector(other)]
    else:
        try:
            vectors = asyncio.run(_asked(embedder, (one, other)))
        except GatewayError as error:
            raise LikenessUnknown(f"{embedder.model} gave no vector: {error.message}") from None
    return round(float(vectors[0] @ vectors[1]), 4)


def embedder_for(route: Route) -> Target | LocalModel:
    """The model that this route's semantic cache compares by. Raises LikenessUnknown where there is none."""
    try:
        local = _local(settings.EMBEDDING_MODEL_DIR) if settings.EMBEDDING_MODEL_DIR else None
    except NoLocalModel as error:
        raise LikenessUnknown(str(error)) from None
    routes = RoutesSnapshot({}, served_models(), local=local)
    found = embedder_of(routes, route.options.get("embedding_model", ""))
    if found is None:
        raise LikenessUnknown(
            "There is no embedding model: add a model of the kind “embedding”, or set EMBEDDING_MODEL_DIR. Until then "
            "this route caches exactly."
        )
    return found


@lru_cache(maxsize=1)
def _local(directory: str) -> LocalModel:
    return load(directory)


async def _asked(target: Target, texts: Iterable[str]) -> list[Vector]:
    upstream, adapter = Upstream(in_process={"demo": demo.respond}), provider_of(target)
    vectors = []
    for text in texts:
        body = {"model": target.upstream, "input": text, "encoding_format": "float"}
        sending = outgoing(adapter, body, "embeddings", target, stream=False, drop_unsupported=True)[0]
        answer = await upstream.send(sending, TRIAL_TIMEOUTS, target.kind)
        if answer.status >= 400:
            raise adapter.error(answer.status, answer.headers, answer.body)
        vectors.append(vector_in(adapter.answer(answer.body, "embeddings", target)))
    return vectors


def judge(
    *, route: Route, likeness: float, is_same: bool, by: Any, call_id: str = "", workspace: Workspace | None = None
) -> Judgement:
    """Keep somebody's word on a pair; of a call, the last word counts. Raises ValidationError."""
    known = Judgement.objects.filter(route=route, call_id=call_id).first() if call_id else None
    made = known or Judgement(route=route, call_id=call_id)
    made.likeness, made.is_same, made.by, made.workspace = likeness, is_same, by, workspace
    made.full_clean()
    made.save()
    return made


def suggested(pairs: Iterable[tuple[float, bool]]) -> Suggestion | None:
    """The threshold that would have done best on judged pairs (how alike, whether the same); None with too few.

    A wrong answer weighs as five missed ones. Of thresholds that do as well the highest is taken.
    """
    known = sorted(pairs)
    if len(known) < LEAST_JUDGED:
        return None
    best: Suggestion | None = None
    for likeness in sorted({0.5, 1.0, *(rounded(likeness + 0.001) for likeness, _ in known)}):
        wrong = sum(not is_same and at >= likeness for at, is_same in known)
        missed = sum(is_same and at < likeness for at, is_same in known)
        loss = wrong * WRONG_COUNTS + missed
        if 0.5 <= likeness <= 1.0 and (best is None or loss <= best.wrong * WRONG_COUNTS + best.missed):
            best = Suggestion(likeness, wrong, missed, len(known))
    return best


def rounded(likeness: float) -> float:
    """As a route's threshold is kept: three digits."""
    return min(1.0, round(likeness, 3))


def judged_pairs(*, route: Route, workspace_ids: Iterable[Any] | None) -> list[tuple[float, bool]]:
    """The newest judged pairs of a route, of these workspaces; None for all, and those of no workspace."""
    rows = Judgement.objects.filter(route=route)
    if workspace_ids is not None:
        rows = rows.filter(workspace_id__in=list(workspace_ids))
    return list(rows.values_list("likeness", "is_same")[:JUDGED_MOST])
