"""The refusal on PostgreSQL: triggers that fire ALWAYS, and the functions behind them."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from audit import partitions
from audit.append_only.tables import ACCOUNT, CALLS, Protected, protected_tables
from tenants.append_only import is_guarded

KINDS = ("append_only", "no_truncate")

_FUNCTION = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE kept boolean := true;
BEGIN
    {decide}
    IF kept THEN
        RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'UPDATE' THEN NEW ELSE OLD END;
END $$
"""
_EXPIRES = """
    IF TG_OP = 'DELETE' THEN
        kept := OLD.keep_until IS NULL OR OLD.keep_until > now();
    ELSIF TG_OP = 'TRUNCATE' THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I WHERE keep_until IS NULL OR keep_until > now())',
                       TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO kept;
    END IF;
"""
_FOR_EVER = """
    IF TG_OP = 'TRUNCATE' THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I)', TG_TABLE_SCHEMA, TG_TABLE_NAME) INTO kept;
    END IF;
"""
_HISTORY = f"""
    IF TG_OP = 'UPDATE' THEN
        kept := NEW.{ACCOUNT} IS NOT NULL OR to_jsonb(NEW) - '{ACCOUNT}' <> to_jsonb(OLD) - '{ACCOUNT}';
    END IF;
    {_FOR_EVER}
"""
FUNCTIONS = {
    name: _FUNCTION.format(name=name, decide=decide)
    for name, decide in (
        ("audit_append_only", _EXPIRES),
        ("audit_append_only_for_ever", _FOR_EVER),
        ("audit_append_only_history", _HISTORY),
    )
}


def statements(tables: Iterable[Protected], parts: Sequence[str]) -> list[str]:
    """What puts the triggers in place. Partitions have row triggers from their table, but none against TRUNCATE."""
    made = [*FUNCTIONS.values(), *(partitions.FUNCTIONS.values() if parts else ())]
    for protected in tables:
        table, function = protected.table, function_of(protected)
        made += [
            f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {function}()",
            f"CREATE OR REPLACE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_no_truncate",
        ]
        for part in parts if table == CALLS else ():
            made += [
                f"CREATE OR REPLACE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {part} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
                f"ALTER TABLE {part} ENABLE ALWAYS TRIGGER {table}_no_truncate",
            ]
    return made


def removal(tables: Iterable[Protected], parts: Iterable[str]) -> list[str]:
    """What takes them away. The functions stay, which protect nothing by themselves."""
    made = [f"DROP TRIGGER IF EXISTS {each.table}_{kind} ON {each.table}" for each in tables for kind in KINDS]
    return made + [
        f"DROP TRIGGER IF EXISTS {CALLS}_no_truncate ON {part}"
        for part in parts
        if any(each.table == CALLS for each in tables)
    ]


def function_of(protected: Protected) -> str:
    if protected.columns:
        return "audit_append_only_history"
    return "audit_append_only" if protected.expires else "audit_append_only_for_ever"


def missing(connection: BaseDatabaseWrapper) -> list[str]:
    """What is not there, is switched off, or not as it was made."""
    tables = protected_tables()
    parts = [partition.name for partition in partitions.partitions(connection)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, t.tgname, t.tgenabled, p.proname FROM pg_trigger t "
            "JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid "
            "WHERE NOT t.tgisinternal AND t.tgrelid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS name)",
            [[*(protected.table for protected in tables), *parts]],
        )
        found = {(table, name): (_text(enabled), called) for table, name, enabled, called in cursor}
        functions = FUNCTIONS | {name.partition("(")[0]: made for name, made in partitions.FUNCTIONS.items() if parts}
        cursor.execute("SELECT proname, prosrc FROM pg_proc WHERE proname = ANY(%s)", [list(functions)])
        bodies = {name: _digest(source) for name, source in cursor}
    wrong = []
    for protected in tables:
        for table in (protected.table, *(parts if protected.table == CALLS else ())):
            for name in (f"{protected.table}_{kind}" for kind in KINDS):
                told = f"trigger {name}" + (f" of {table}" if table != protected.table else "")
                if (table, name) not in found:
                    wrong.append(f"{told} is missing")
                elif found[table, name] != ("A", function_of(protected)):
                    wrong.append(f"{told} is changed or switched off")
    changed = [name for name, made in functions.items() if bodies.get(name) != _digest(made.split("$$")[1])]
    return wrong + [f"function {name} is changed" for name in changed]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


def may_be_taken_away(connection: BaseDatabaseWrapper) -> str:
    """Why the protection could be taken away by the gateway's own role; empty where deploy/postgresql/protect.sql holds."""
    if is_guarded(connection):
        return ""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_user, bool_or(pg_has_role(tableowner, 'USAGE')) FROM pg_tables WHERE tablename = ANY(%s)",
            [[protected.table for protected in protected_tables()]],
        )
        role, owns = cursor.fetchone()
    return f"the role {role} could drop them: deploy/postgresql/protect.sql prevents that" if owns else ""
