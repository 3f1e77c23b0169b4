"""Providers, credentials, models with their prices, routes with their targets: rows ⇄ items."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.utils import timezone

from budgets.models import Price
from gateway.core.crypto import Undecryptable
from gateway.core.money import dollars, nanos
from gateway.models import Credential, Provider, Route, RouteTarget, ServedModel
from gateway.services.configuration.items import Item, canonical_price, sorted_lists
from gateway.services.configuration.kinds import Secret
from gateway.services.configuration.rows import Plain, Rows, decimal, number, save
from tenants.history import current_actor

MIN_HINTED_CHARACTERS = 16  # of a shorter secret four characters would tell too much


class Providers(Plain):
    kind = "provider"

    def read(self) -> Iterator[Item]:
        for row in Provider.objects.order_by("name"):
            fields = {
                "kind": row.kind,
                "base_url": row.base_url,
                "region": row.region,
                "api_version": row.api_version,
                "quirks": row.quirks,
                "enabled": row.is_enabled,
            }
            yield Item("provider", (row.name,), fields, row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        fields = item.fields
        return save(
            row or Provider(name=item.name[0]),
            kind=fields["kind"],
            base_url=fields["base_url"],
            region=fields["region"],
            api_version=fields["api_version"],
            quirks=fields["quirks"],
            is_enabled=fields["enabled"],
        )


class Credentials(Plain):
    kind = "credential"

    def read(self) -> Iterator[Item]:
        found = Credential.objects.select_related("provider").order_by("provider__name", "position", "name")
        for row in found:
            parent = (row.provider.name,)
            item = Item("credential", (*parent, row.name), {"enabled": row.is_enabled}, parent, row=row)
            item.position = row.position
            yield item

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        provider, name = item.name
        row = row or Credential(provider=rows.find("provider", provider), name=name)
        values: dict[str, Any] = {}
        if item.secret is not None and not (row.pk and self.has_secret(row, item.secret)):
            values = {
                "sealed": settings.KEYRING.seal(item.secret.text.encode(), row.seal_context),
                "hint": item.secret.text[-4:] if len(item.secret.text) >= MIN_HINTED_CHARACTERS else "",
                "set_at": timezone.now(),
            }
        return save(row, is_enabled=item.fields["enabled"], position=item.position, **values)

    def has_secret(self, row: Any, secret: Secret) -> bool:
        try:
            return bool(row.secret == secret.text)
        except Undecryptable:
            return False


class Models(Plain):
    kind = "model"

    def read(self) -> Iterator[Item]:
        prices = {}
        for price in Price.objects.filter(source="configuration", valid_from__lte=timezone.now()).order_by(
            "valid_from"
        ):
            rates = {"input": dollars(price.input_nanos), "output": dollars(price.output_nanos)}
            if price.cached_input_nanos is not None:
                rates["cached_input"] = dollars(price.cached_input_nanos)
            prices[price.model] = canonical_price(rates | price.details)
        for row in ServedModel.objects.select_related("provider").order_by("name"):
            fields = {
                "provider": row.provider.name,
                "upstream": row.upstream,
                "kind": row.kind,
                "price": prices.get(row.name),
                "max_output_tokens": row.max_output_tokens,
                "context_tokens": row.context_tokens,
                "quality": number(row.quality),
                "capabilities": row.capabilities,
                "enabled": row.is_enabled,
            }
            yield Item("model", (row.name,), sorted_lists(fields, "capabilities"), row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        fields, name = item.fields, item.name[0]
        saved = save(
            row or ServedModel(name=name),
            provider=rows.find("provider", fields["provider"]),
            upstream=fields["upstream"],
            kind=fields["kind"],
            max_output_tokens=fields["max_output_tokens"],
            context_tokens=fields["context_tokens"],
            quality=decimal(fields["quality"]),
            capabilities=fields["capabilities"],
            is_enabled=fields["enabled"],
        )
        set_price(name, fields["price"])
        return saved


def set_price(model: str, price: dict[str, Any] | None) -> None:
    """From now on the model costs this; None: what the catalogue says. Settled calls keep the price they had."""
    own = Price.objects.filter(model=model, source="configuration")
    now = timezone.now()
    if price is None:
        for row in own:
            Plain().remove(row)
        return
    cached = price.get("cached_input")
    values = {
        "input_nanos": nanos(price["input"]),
        "output_nanos": nanos(price["output"]),
        "cached_input_nanos": None if cached is None else nanos(cached),
        "details": {name: value for name, value in price.items() if name not in ("input", "output", "cached_input")},
    }
    newest = own.filter(valid_from__lte=now).order_by("-valid_from").first()
    if newest is None or any(getattr(newest, name) != value for name, value in values.items()):
        save(Price(model=model, source="configuration", valid_from=now, note=f"by {current_actor()}"), **values)


class Routes(Plain):
    kind = "route"

    def read(self) -> Iterator[Item]:
        chains: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for step in RouteTarget.objects.select_related("model").order_by("route_id", "position", "id"):
            chains[step.route_id].append(
                {
                    "model": step.model.name,
                    "weight": step.weight,
                    "first_byte_timeout_s": number(step.first_byte_timeout_s),
                    "timeout_s": number(step.timeout_s),
                    "conditions": step.conditions,
                    "options": step.options,
                }
            )
        for row in Route.objects.order_by("name"):
            fields = {
                "description": row.description,
                "strategy": row.strategy,
                "sticky_by": row.sticky_by,
                "targets": chains[row.pk],
                "retries": row.retries,
                "fall_back_on": row.fall_back_on,
                "cache": {
                    "mode": row.cache_mode,
                    "ttl_s": row.cache_ttl_s,
                    "threshold": float(row.cache_threshold),
                },
                "options": row.options,
                "enabled": row.is_enabled,
            }
            yield Item("route", (row.name,), sorted_lists(fields, "fall_back_on"), row=row)

    def put(self, item: Item, row: Any, rows: Rows) -> Any:
        fields = item.fields
        saved = save(
            row or Route(name=item.name[0]),
            description=fields["description"],
            strategy=fields["strategy"],
            sticky_by=fields["sticky_by"],
            retries=fields["retries"],
            fall_back_on=fields["fall_back_on"],
            cache_mode=fields["cache"]["mode"],
            cache_ttl_s=fields["cache"]["ttl_s"],
            cache_threshold=decimal(fields["cache"]["threshold"]),
            options=fields["options"],
            is_enabled=fields["enabled"],
        )
        self.put_targets(saved, fields["targets"], rows)
        return saved

    def put_targets(self, route: Route, targets: list[dict[str, Any]], rows: Rows) -> None:
        """Make the chain exactly this one."""
        steps = {step.model.name: step for step in route.targets.select_related("model")}
        for name in steps.keys() - {target["model"] for target in targets}:
            self.remove(steps[name])
        for position, target in enumerate(targets):
            save(
                steps.get(target["model"]) or RouteTarget(route=route, model=rows.find("model", target["model"])),
                position=position,
                weight=target["weight"],
                first_byte_timeout_s=decimal(target["first_byte_timeout_s"]),
                timeout_s=decimal(target["timeout_s"]),
                conditions=target["conditions"],
                options=target["options"],
            )
