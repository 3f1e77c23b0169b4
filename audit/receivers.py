"""Every change of configuration becomes an event, in the transaction of the change. No service can forget it.

django-simple-history tells of rows that are saved or deleted one by one; configuration refuses to be changed in any
other way (tenants.history). Rows that are appended and never changed (a prompt's versions and deployments) have no
history, so their making is heard of directly; so are accounts, and who signs in.
"""

from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import models
from django.db.models.signals import post_delete, post_save, pre_save
from django.http import HttpRequest
from simple_history.signals import post_create_historical_record

from audit.origin import origin_now, origin_of
from audit.services.changes import record_event, workspace_of

APPENDED = ("prompts.PromptVersion", "prompts.Approval", "prompts.SuiteResult", "prompts.Deployment")
KINDS = {"+": "create", "~": "change", "-": "delete"}
ACCOUNT_FIELDS = ("username", "email", "is_active", "is_staff", "is_superuser")
SECRET_WORDS = ("secret", "password", "sealed", "digest", "token")


def connect() -> None:
    """Listen. Called once, when the apps are ready."""
    post_create_historical_record.connect(record_change, dispatch_uid="audit:change")
    for label in APPENDED:
        post_save.connect(record_appended, sender=apps.get_model(label), dispatch_uid=f"audit:appended:{label}")
    account = get_user_model()
    pre_save.connect(remember_account, sender=account, dispatch_uid="audit:account:before")
    post_save.connect(record_account, sender=account, dispatch_uid="audit:account")
    post_delete.connect(record_account_deleted, sender=account, dispatch_uid="audit:account:deleted")
    user_logged_in.connect(record_sign_in, dispatch_uid="audit:sign-in")
    user_logged_out.connect(record_sign_out, dispatch_uid="audit:sign-out")
    user_login_failed.connect(record_failed_sign_in, dispatch_uid="audit:sign-in-failed")


def record_change(*, instance: models.Model, history_instance: Any, **kwargs: Any) -> None:
    kind = KINDS[history_instance.history_type]
    before = None if kind == "create" else history_instance.prev_record
    if kind == "delete":
        told: dict[str, Any] = {"before": tracked(history_instance)}
    else:
        told = {"after": tracked(history_instance)} | ({"before": tracked(before)} if before is not None else {})
    record_event(
        kind=kind,
        workspace=workspace_of(instance),
        origin=origin_now(history_instance.history_user),
        about=instance,
        reason=history_instance.history_change_reason or "",
        **told,
    )


def record_appended(*, instance: models.Model, created: bool, raw: bool = False, **kwargs: Any) -> None:
    if created and not raw:
        record_event(kind="create", workspace=workspace_of(instance), about=instance, after=fields_of(instance))


def tracked(history: Any) -> dict[str, Any]:
    """A history row's fields, but for secrets, which are not in the history, and bytes, which say nothing."""
    return {
        field.attname: getattr(history, field.attname)
        for field in history.tracked_fields
        if not is_secret(field) and hasattr(history, field.attname)
    }


def fields_of(row: models.Model) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if not is_secret(field)}


def is_secret(field: "models.Field[Any, Any]") -> bool:
    return isinstance(field, models.BinaryField) or any(word in field.name for word in SECRET_WORDS)


# --- Accounts ---------------------------------------------------------------------------------------------


def remember_account(*, sender: type[models.Model], instance: Any, **kwargs: Any) -> None:
    before = sender._default_manager.filter(pk=instance.pk).values(*ACCOUNT_FIELDS, "password").first()
    instance._recorded_before = before


def record_account(*, instance: Any, created: bool, **kwargs: Any) -> None:
    before = dict(instance._recorded_before or {})
    password_before = before.pop("password", None)
    after = {name: getattr(instance, name) for name in ACCOUNT_FIELDS}
    data = {} if created or password_before == instance.password else {"password": "changed"}
    if created or before != after or data:
        told: dict[str, Any] = (
            {"after": after} | ({"before": before} if before else {}) | ({"data": data} if data else {})
        )
        record_event(kind="create" if created else "change", about=instance, **told)


def record_account_deleted(*, instance: Any, **kwargs: Any) -> None:
    record_event(kind="delete", about=instance, before={name: getattr(instance, name) for name in ACCOUNT_FIELDS})


def record_sign_in(*, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    record_event(kind="sign_in", origin=origin_of(request, user), about=user)


def record_sign_out(*, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    if user is not None:
        record_event(kind="sign_out", origin=origin_of(request, user), about=user)


def record_failed_sign_in(*, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    name = str(credentials.get("username", ""))[:200]
    origin = origin_now() if request is None else origin_of(request)
    record_event(kind="sign_in_failed", origin=origin, data={"username": name})
