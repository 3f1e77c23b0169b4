"""Which admin pages there are, read from the URL conf, so that a new one is measured without being named anywhere.

Every page is asked for as it opens; those that take a search, a period or a cursor are asked for in further ways, too.
"""

import time
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from audit.models import CallRecord
from audit.search import PERIODS
from tenants.models import Workspace

CALLS = "admin:audit_callrecord_changelist"
DASHBOARDS = tuple(f"?period={name}" for name, (_, span) in PERIODS.items() if span is not None)
NARROWED = (
    "?since=2026-01-01",
    "?period=30d&workspace=acme",
    "?period=30d&workspace=acme&key=web",
    "?period=30d&model=nova-lite",
    "?period=30d&user=user-77",
    "?period=30d&route=chat&provider=openai",
)
GROUPS = ("?period=24h", "?period=30d", "?period=all&workspace=globex&user=user-77")
VARIANTS: dict[str, tuple[str, ...]] = {
    "admin:index": (*DASHBOARDS, "?period=30d&workspace=ACME"),
    "dashboards": (*DASHBOARDS, *NARROWED),
    CALLS: (
        *(f"?period={period}" for period in PERIODS),
        "?period=all&workspace=acme",
        "?period=all&workspace=acme&key=web",
        "?period=all&user=user-77",
        "?period=all&model=nova-lite&workspace=globex",
        "?period=all&model=nova-lite",
        "?period=all&provider=bedrock&cache=hit",
        "?period=30d&outcome=failed",
        "?period=all&outcome=in_doubt",
        "?period=30d&status=429",
        "?period=all&status=5xx",
        "?period=30d&prompt=summary@3",
        "?period=all&prompt=summary",
        "?period=30d&tag=nightly",
        "?period=all&tag=no-such-tag",
        "?period=30d&min_cost=0.017",
        "?period=all&min_cost=1000",
        "?period=all&min_ms=10000000",
        "?period=all&session=SESSION",
        "?period=all&run=RUN",
        "?period=all&key=no-such-key",
        "?period=all&team=search",
        "?period=all&route=no-such-route",
        "?period=30d&code=no_such_code",
        "?period=all&feedback=bad",
        "?period=30d&text=plus",
        "?period=30d&text=no-such-text",
        "?period=all&fallback=any",
        "?period=all&fallback=llama-local&model=nova-lite&workspace=globex",
        "?period=all&fallback=no-such-model",
        "?period=all&outcome=failed,in_doubt,refused",
    ),
    "admin:audit_callrecord_sessions": GROUPS,
    "admin:audit_callrecord_runs": GROUPS,
    "admin:audit_callrecord_session": ("?session=SESSION&workspace=WHERE",),
    "admin:audit_callrecord_run": ("?run=RUN&workspace=WHERE",),
    "admin:audit_auditevent_changelist": (
        *(f"?period={period}" for period in PERIODS),
        "?period=all&workspace=globex",
        "?period=all&kind=retention.drop",
        "?period=all&who=admin-3",
        "?period=all&who=nobody",
        "?period=all&what=rate+limit",
        "?period=all&what=nothing&workspace=acme",
        "?period=all&name=no-such-name",
        "?period=all&from=10.9.",
    ),
    "admin:budgets_budget_statements": (
        "?workspace=ACME",
        "?workspace=ACME&month=2026-10",
        "?workspace=ACME&format=csv",
    ),
    "admin:budgets_budget_spenders": ("?days=1", "?days=90"),
    "admin:budgets_budget_usage": ("?format=csv",),
    "admin:gateway_redactionpolicy_report": ("?days=90", "?period=30d"),
    "admin:search": ("?s=acme", "?s=acme&extended=1"),
}
# What is asked for by a form alone, or is no page of this installation's own.
LEFT_OUT = {
    "admin:logout": "signs out",
    "admin:view_on_site": "leads elsewhere",
    "admin:jsi18n": "a fixed script",
    "admin:audit_callrecord_forget_search": "is a button of a form",
    "admin:audit_callrecord_save_search": "is a button of a form",
    "admin:autocomplete": "is asked for by fields, with a search of theirs; it reads no records",
}
ROWS_EACH = 6  # of a kind whose pages read records by row


def pages() -> Iterator[tuple[str, str]]:
    """(name of the page, address) of all that there is to measure. Reads the database for rows to show."""
    grouped = CallRecord.objects.exclude(session_id=None).exclude(run_id=None).order_by("-at")[0]
    words = {
        "ACME": str(Workspace.objects.get(name="acme").pk),
        "SESSION": grouped.session_id or "",
        "RUN": grouped.run_id or "",
        "WHERE": grouped.workspace,
    }
    for name, pattern in sorted(named_pages().items()):
        if name in LEFT_OUT:
            continue
        for arguments in arguments_of(name, pattern):
            address = reverse(name, args=arguments)
            yield name, address
            for variant in VARIANTS.get(name, ()):
                for word, value in words.items():
                    variant = variant.replace(word, value)
                yield name, address + variant
    yield CALLS, deep()


def named_pages() -> dict[str, URLPattern]:
    """Url name → pattern of every page of the web UI: all under `admin/` that has a name."""
    return dict(_under(get_resolver(), "", ""))


def _under(resolver: URLResolver, path: str, space: str) -> Iterator[tuple[str, URLPattern]]:
    for each in resolver.url_patterns:
        at = path + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from _under(each, at, f"{space}{each.namespace}:" if each.namespace else space)
        elif each.name and at.startswith("admin/"):
            yield space + each.name, each


def arguments_of(name: str, pattern: URLPattern) -> list[list[Any]]:
    """What to fill the page's address with: rows that are there. Empty where there is no row to show."""
    wanted = list(pattern.pattern.converters) or ["row", "history"][: pattern.pattern.regex.groups]
    if not wanted:
        return [[]]
    if wanted == ["app_label"]:
        return [[label] for label in ("audit", "budgets", "gateway", "tenants")]
    if name == "admin:audit_callrecord_export":
        return [["csv"], ["jsonl"]]
    model = model_of(name)
    rows = rows_of(model) if model is not None else []
    if name.endswith("_simple_history"):
        history: Any = getattr(model, "history", None)
        found = [(row, history.filter(id=row.pk).values_list("pk", flat=True).first()) for row in rows[:1]]
        return [[row.pk, version] for row, version in found if version]
    others = {"number": "1", "deed": "keep"}
    one = [others.get(argument) for argument in wanted]
    return [[row.pk if each is None else each for each in one] for row in rows]


def model_of(name: str) -> type[Model] | None:
    """The model whose page this is: `admin:audit_callrecord_change` is one of CallRecord."""
    for model in apps.get_models():
        if name.startswith(f"admin:{model._meta.app_label}_{model._meta.model_name}_"):
            return model
    return None


def rows_of(model: type[Model]) -> list[Any]:
    """Some rows, of a filled workspace where the model has one."""
    if model is CallRecord:
        found = CallRecord.objects.order_by("-at")
        return [found[500], *found.exclude(subject=None).filter(prompt__startswith="summary")[:1]]
    manager: Any = model._default_manager
    if any(field.name == "workspace" and field.is_relation for field in model._meta.get_fields()):
        return [*manager.filter(workspace__name="acme")[:ROWS_EACH]] or [*manager.all()[:2]]
    return [*manager.all()[:2]]


def deep() -> str:
    """The list's page in the middle of everything."""
    first = CallRecord.objects.order_by("at").values_list("at", flat=True)[:1].get()
    middle = int((time.time() + first.timestamp()) / 2 * 1e6)
    return f"{reverse(CALLS)}?period=all&before={middle}.x"
