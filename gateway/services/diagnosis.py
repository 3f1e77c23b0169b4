"""Is everything well? Each check looks at one thing, says what it found in one line, and changes nothing."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.checks import ERROR, WARNING, run_checks
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

import audit.append_only
from budgets.drift import counters_off, totals_off
from budgets.models import AlertChannel, Budget
from budgets.models.budgets import most_countable
from gateway.compiler import compile_configuration
from gateway.configuration import Services
from gateway.core.crypto import Undecryptable
from gateway.guards import missing_triggers
from gateway.models import Credential
from gateway.reload import revision_in_database

MIB = 1024 * 1024
DISK_FAILS_MIB = 256
DISK_WARNS_MIB = 2048


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `state` is ok, warn (worth a look) or FAIL (something does not work)."""

    state: str
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.state:<5} {self.name}: {self.message}"


def ok(name: str, message: str) -> Finding:
    return Finding("ok", name, message)


def warn(name: str, message: str) -> Finding:
    return Finding("warn", name, message)


def fail(name: str, message: str) -> Finding:
    return Finding("FAIL", name, message)


def diagnose() -> Iterator[Finding]:
    """Every finding, in the order in which a person would look. A check that can't be made is a FAIL."""
    yield look("settings", check_settings)
    database = look("database", check_database)
    yield database
    if database.state != "FAIL":
        migrations = look("migrations", check_migrations)
        yield migrations
        if migrations.state == "ok":
            for name, check in ON_TABLES.items():
                yield look(name, check)
    for name, check in ON_THIS_MACHINE.items():
        yield look(name, check)


def look(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # whatever it is, the other checks still say something
        return fail(name, f"{type(error).__name__}: {error}".splitlines()[0])


def check_settings() -> Finding:
    found = [each for each in run_checks() if each.level >= WARNING]
    if not found:
        return ok("settings", "no complaints")
    worst = max(found, key=lambda each: each.level)
    text = f"{worst.id}: {worst.msg}" + (f" (and {len(found) - 1} more: manage.py check)" if len(found) > 1 else "")
    return fail("settings", text) if worst.level >= ERROR else warn("settings", text)


def check_database() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute("SELECT sqlite_version()" if settings.IS_SQLITE else "SHOW server_version")
        version = cursor.fetchone()[0]
        if settings.IS_SQLITE:
            cursor.execute("PRAGMA quick_check(1)")
            if (said := cursor.fetchone()[0]) != "ok":
                return fail("database", f"SQLite finds the file damaged: {said}")
    name = "SQLite" if settings.IS_SQLITE else "PostgreSQL"
    return ok("database", f"{name} {version} answers")


def check_migrations() -> Finding:
    executor = MigrationExecutor(connection)
    missing = [
        f"{step.app_label}.{step.name}" for step, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())
    ]
    if missing:
        return fail("migrations", f"{len(missing)} to be made, first {missing[0]}: run `manage.py migrate`")
    return ok("migrations", "all made")


def check_configuration() -> Finding:
    number = revision_in_database()
    compiled = compile_configuration(Services(), revision=number)
    routes, keys = len(compiled.routes.routes), len(compiled.tenants.keys)
    return ok("configuration", f"revision {number} compiles: {routes} routes and models, {keys} keys")


def check_credentials() -> Finding:
    """Every sealed secret must open; one under an older key should be sealed anew before that key is dropped."""
    rows: list[Credential | AlertChannel] = [*Credential.objects.select_related("provider")]
    rows += AlertChannel.objects.select_related("workspace").exclude(sealed=None)
    lost, old = [], 0
    for row in rows:
        sealed = bytes(row.sealed or b"")
        try:
            settings.KEYRING.open(sealed, row.seal_context)
        except Undecryptable:
            lost.append(str(row))
        else:
            old += not settings.KEYRING.is_current(sealed)
    if lost:
        return fail("credentials", f"{len(lost)} of {len(rows)} do not open with ENCRYPTION_KEYS, first {lost[0]}")
    if old:
        return warn("credentials", f"{old} of {len(rows)} are sealed under an older key of ENCRYPTION_KEYS")
    return ok("credentials", f"{len(rows)} open")


def check_triggers() -> Finding:
    missing = [*audit.append_only.missing(connection), *missing_triggers()]
    if missing:
        return fail("append-only", f"{missing[0]}: run `manage.py migrate`, which puts the triggers back")
    told = "records, ledger and prompts are protected by their triggers"
    return ok("append-only", "; ".join(filter(None, (told, audit.append_only.may_be_taken_away(connection)))))


def check_ledger() -> Finding:
    """The sums of what was spent, and what counts it, must agree with the ledger's lines."""
    if off := totals_off():
        name, gap = off[0]
        return fail(
            "ledger",
            f"the daily totals of {name} are {gap} nano-dollars off the sum of its ledger lines: "
            "run `manage.py budgets --rebuild`",
        )
    most = most_countable()
    large = [row for row in Budget.objects.select_related("workspace") if row.limit > most]
    if large:
        return fail(
            "ledger", f"with Redis the budget {large[0]} of {large[0].workspace} is larger than {most:,}: lower it"
        )
    if settings.REDIS_URL and (problem := counters_off(settings.REDIS_URL)):
        return fail("ledger", problem)
    return ok("ledger", "the totals are the sums of their lines")


def check_redis() -> Finding:
    if not settings.REDIS_URL:
        return ok("redis", "not used: counters, cache and live updates are in the process")
    from redis import Redis  # noqa: PLC0415 - optional dependency: only where REDIS_URL is set

    with Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2) as client:
        info = client.info("server")
        policy = client.config_get("maxmemory-policy").get("maxmemory-policy", "")
    if policy not in ("noeviction", ""):
        return warn(
            "redis", f"{info['redis_version']} answers, but may evict counters: set maxmemory-policy noeviction"
        )
    return ok("redis", f"{info['redis_version']} answers")


def check_disk() -> Finding:
    folder: Path = settings.DATA_DIR
    probe = folder / ".doctor"
    probe.touch()
    probe.unlink()
    free = shutil.disk_usage(folder).free // MIB
    if free < DISK_FAILS_MIB:
        return fail("disk", f"{free} MiB are free at {folder}; at least {DISK_FAILS_MIB} are needed")
    if free < DISK_WARNS_MIB:
        return warn("disk", f"{free} MiB are free at {folder}")
    return ok("disk", f"{free} MiB are free at {folder}")


def check_journal() -> Finding:
    folder: Path = settings.DATA_DIR / "journal"
    letters = folder / "dead-letters.jsonl"
    if letters.exists() and letters.stat().st_size:
        count = letters.read_bytes().count(b"\n")
        return fail("journal", f"{count} record(s) that the database refused stand in {letters}")
    segments = list(folder.glob("*.log")) if folder.exists() else []
    size = sum(segment.stat().st_size for segment in segments) // MIB
    return ok("journal", f"{len(segments)} segment(s), {size} MiB, no record was refused")


def check_secrets() -> Finding:
    """Files that hold secrets must be the owner's alone."""
    open_ones = [
        path.name
        for name in ("secret_key", "encryption_keys", "first_start.txt")
        if (path := settings.DATA_DIR / name).exists() and path.stat().st_mode & 0o077
    ]
    if open_ones:
        return fail("secrets", f"others may read {', '.join(open_ones)} in {settings.DATA_DIR}: chmod 600")
    return ok("secrets", "files with secrets are readable by their owner alone")


ON_TABLES: dict[str, Callable[[], Finding]] = {
    "configuration": check_configuration,
    "credentials": check_credentials,
    "append-only": check_triggers,
    "ledger": check_ledger,
}
ON_THIS_MACHINE: dict[str, Callable[[], Finding]] = {
    "redis": check_redis,
    "disk": check_disk,
    "journal": check_journal,
    "secrets": check_secrets,
}
