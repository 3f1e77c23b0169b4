from typing import Any

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.signals import post_migrate, pre_migrate

from audit import append_only, partitions


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Calls and changes"

    def ready(self) -> None:
        from audit import checks, receivers  # noqa: PLC0415 - app ready: they need the models

        register(checks.records_are_protected, Tags.database)
        receivers.connect()
        connection_created.connect(guard_connection, dispatch_uid="audit:guard")
        pre_migrate.connect(let_migrate, sender=self, dispatch_uid="audit:let-migrate")
        post_migrate.connect(keep_append_only, sender=self, dispatch_uid="audit:keep-append-only")


def guard_connection(*, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    append_only.guard(connection)


def let_migrate(*, using: str, **kwargs: Any) -> None:
    connection = connections[using]
    connection.ensure_connection()
    append_only.step_aside(connection)


def keep_append_only(*, using: str, **kwargs: Any) -> None:
    """Put back the triggers that a migration may have left behind, forwards or backwards."""
    connection = connections[using]
    if ("audit", "0002_append_only") in MigrationRecorder(connection).applied_migrations():
        if append_only.missing(connection):  # else nothing is altered, which a guarded database would refuse
            append_only.install(connection)
        partitions.make_ahead(connection)
    append_only.guard(connection)
