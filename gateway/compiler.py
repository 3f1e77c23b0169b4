"""Rows → snapshots: the only place that reads the gateway's tables for calls, one query for each table."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import blake2b, sha256
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.db.models import Max

import audit.compiler
import budgets.compiler
import evals.compiler
import prompts.compiler
import tenants.compiler
from evals.models import Guardrail
from evals.queries import quality_by_model
from gateway.configuration import Configuration, Services
from gateway.core.call import Call, Target
from gateway.core.money import nanos
from gateway.models import CachePurge, Credential, RedactionPolicy, Route, RouteTarget, ServedModel
from gateway.routing.cost import Costs
from gateway.snapshot import (
    CacheView,
    ModelView,
    RedactionView,
    RoutesSnapshot,
    RouteView,
    ShadowView,
    TargetView,
    Timeouts,
)


def compile_configuration(services: Services, *, revision: int) -> Configuration:
    """Everything that calls read, as of now. Raises when any part is not usable, so that nothing half-made is served."""
    spending = budgets.compiler.snapshot(ledger=services.ledger)
    return Configuration(
        revision=revision,
        tenants=tenants.compiler.snapshot(counters=services.counters),
        routes=snapshot(services, Costs(spending)),
        prompts=prompts.compiler.snapshot(),
        budgets=spending,
        audit=audit.compiler.snapshot(
            journal=services.journal,
            begin=services.traces.begin if services.traces is not None else None,
            write=listeners(services),
        ),
        evals=evals.compiler.snapshot(),
    )


def listeners(services: Services) -> Callable[[Call], None] | None:
    """One function that tells everybody who wants to know of a call that has ended; None where nobody does."""
    notes = [each.note for each in (services.metrics, services.export, services.traces) if each is not None]
    if len(notes) < 2:
        return notes[0] if notes else None

    def tell(call: Call) -> None:
        for note in notes:
            note(call)

    return tell


def snapshot(services: Services, costs: Costs | None = None) -> RoutesSnapshot:
    """Routes, models and policies. Six queries, and one more for a route by quality with a model that has none."""
    models, masked = served_models(), redaction()
    return RoutesSnapshot(
        routes=MappingProxyType(routes(models)),
        models=MappingProxyType(models),
        redaction=MappingProxyType(masked),
        pepper=sha256(b"pseudonyms\n" + settings.SECRET_KEY.encode()).digest(),
        timeouts=Timeouts(
            connect=settings.UPSTREAM_CONNECT_SECONDS,
            first_byte=settings.UPSTREAM_FIRST_BYTE_SECONDS,
            idle=settings.UPSTREAM_IDLE_SECONDS,
            total=settings.UPSTREAM_TOTAL_SECONDS,
        ),
        costs=costs,
        store=services.store,
        local=services.local,
        policy_versions=MappingProxyType(policy_versions(masked)),
        purges=MappingProxyType(purges()),
        upstream=services.upstream,
    )


def served_models() -> dict[str, ModelView]:
    """Every model that is on, by name, with a target for each usable credential of its provider."""
    credentials: dict[int, list[Credential]] = defaultdict(list)
    for credential in Credential.objects.filter(is_enabled=True).order_by("provider_id", "position", "name"):
        credentials[credential.provider_id].append(credential)
    views = {}
    for row in ServedModel.objects.filter(is_enabled=True, provider__is_enabled=True).select_related("provider"):
        opened = [(each.name, each.secret) for each in credentials[row.provider_id]] or [("", "")]
        views[row.name] = ModelView(
            name=row.name,
            provider=row.provider.name,
            kind=row.kind,
            quality=None if row.quality is None else float(row.quality),
            targets=tuple(target(row, name, secret) for name, secret in opened),
        )
    return views


def target(row: ServedModel, credential: str, secret: str) -> Target:
    provider = row.provider
    return Target(
        model=row.name,
        provider=provider.name,
        kind=provider.kind,
        base_url=provider.base_url.rstrip("/"),
        upstream=row.upstream,
        credential=credential,
        secret=secret,
        region=provider.region,
        api_version=provider.api_version,
        max_output_tokens=row.max_output_tokens,
        context_tokens=row.context_tokens or row.listed_context_tokens,
        quirks=MappingProxyType(dict(provider.quirks)),
        capabilities=None if row.capabilities is None else frozenset(row.capabilities),
    )


def routes(models: dict[str, ModelView]) -> dict[str, RouteView]:
    """Every route that is on, and every model as a route of one target unless a route has its name."""
    views = {name: RouteView(name, "priority", (TargetView(model),), is_model=True) for name, model in models.items()}
    chains: dict[int, list[TargetView]] = defaultdict(list)
    for step in RouteTarget.objects.select_related("model").order_by("route_id", "position", "id"):
        if step.model.name in models:
            chains[step.route_id].append(
                TargetView(
                    model=models[step.model.name],
                    weight=step.weight,
                    first_byte_timeout_s=_seconds(step.first_byte_timeout_s),
                    timeout_s=_seconds(step.timeout_s),
                    connect_timeout_s=_seconds(step.options.get("connect_timeout_s")),
                    first_token_timeout_s=_seconds(step.options.get("first_token_timeout_s")),
                    idle_timeout_s=_seconds(step.options.get("idle_timeout_s")),
                    conditions=tuple(step.conditions),
                )
            )
    for row in Route.objects.filter(is_enabled=True):
        views[row.name] = RouteView(
            name=row.name,
            strategy=row.strategy,
            targets=judged(chains[row.pk]) if row.strategy == Route.Strategy.QUALITY else tuple(chains[row.pk]),
            sticky_by=row.sticky_by,
            retries=row.retries,
            fall_back_on=frozenset(row.fall_back_on),
            cache=CacheView(
                row.cache_mode, row.cache_ttl_s, float(row.cache_threshold), row.options.get("embedding_model", "")
            ),
            timeout_s=_seconds(row.options.get("timeout_s")),
            shadow=shadow(row.options.get("shadow"), models),
            hedge_after_s=_seconds(row.options.get("hedge_after_s")),
            continues=row.options.get("continue", False),
        )
    return views


def judged(chain: Sequence[TargetView]) -> tuple[TargetView, ...]:
    """The chain, with the newest eval results for the models whose quality nobody has set."""
    if all(step.model.quality is not None for step in chain):
        return tuple(chain)
    found = quality_by_model()
    return tuple(
        step
        if step.model.quality is not None
        else replace(step, model=replace(step.model, quality=found.get(step.model.name)))
        for step in chain
    )


def shadow(options: Mapping[str, Any] | None, models: Mapping[str, ModelView]) -> ShadowView | None:
    """Where a share of a route's calls also goes; None where that model is gone or off."""
    if not options or options["model"] not in models:
        return None
    return ShadowView(options["model"], options["share_percent"] / 100, nanos(str(options["daily_usd"])))


def redaction() -> dict[str, RedactionView]:
    """Redaction policies by workspace id."""
    return {str(row.workspace_id): redaction_view(row) for row in RedactionPolicy.objects.all()}


def redaction_view(row: RedactionPolicy) -> RedactionView:
    return RedactionView(
        detect=frozenset(row.detect),
        action=row.action,
        on_error=row.on_error,
        patterns=tuple(sorted(row.options.get("patterns", {}).items())),
        words=tuple(row.options.get("words", ())),
        names=tuple(row.options.get("names", ())),
        allow=tuple(row.options.get("allow", ())),
        engine=row.options.get("engine", ""),
    )


def policy_versions(masked: Mapping[str, RedactionView]) -> dict[str, str]:
    """By workspace id, a digest of all that its policies say: no answer is kept from one to the next of them."""
    said: dict[str, list[Any]] = defaultdict(list)
    for workspace_id, view in masked.items():
        said[workspace_id].append({**asdict(view), "detect": sorted(view.detect)})
    rows = Guardrail.objects.order_by("workspace_id", "position", "id")
    for workspace, *fields in rows.values_list("workspace_id", "kind", "action", "threshold", "words", "options"):
        said[str(workspace)].append(fields)
    return {workspace_id: blake2b(repr(of).encode(), digest_size=16).hexdigest() for workspace_id, of in said.items()}


def purges() -> dict[str, dict[tuple[str, str], float]]:
    """When each thing was last purged, by workspace id."""
    found: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    latest = CachePurge.objects.order_by().values_list("workspace_id", "what", "name").annotate(latest=Max("at"))
    for workspace_id, what, name, at in latest:
        found[str(workspace_id)][what, name] = at.timestamp()
    return found


def _seconds(value: Any) -> float | None:
    return None if value is None else float(value)
