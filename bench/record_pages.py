"""Time every admin page on a filled database (see bench.fill_records), and name those that read a large table whole.

    python -m bench.record_pages [--slow MS] [part of an address …]

Per page: CPU of this process and of PostgreSQL's, the best of three; statements; rows that a plan reads whole.
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from bench.pages import pages  # noqa: E402

TIMES = 3
LARGE = ("audit_callrecord", "audit_auditevent", "audit_callbody", "audit_feedback", "budgets_entry", "audit_seal")
READS_WHOLE = {"sqlite": "SCAN ", "postgresql": "Seq Scan on "}


class Seen(NamedTuple):
    """What one page took: seconds of CPU, statements, and which of its plans read a large table whole."""

    status: int
    cpu: float
    database_cpu: float
    statements: int
    whole: list[str]


def look(client: Client, address: str) -> Seen:
    asked: list[tuple[str, Any]] = []
    best, status = (float("inf"), 0.0), 0
    for _ in range(TIMES):
        asked.clear()
        with collecting(asked):
            began, database = time.process_time(), database_cpu()
            response = client.get(address)
            if response.streaming:
                next(iter(response.streaming_content), None)  # type: ignore[arg-type]
            spent, after = time.process_time() - began, database_cpu()
        response.close()
        status, best = response.status_code, min(best, (spent, after - database), key=sum)
    return Seen(status, *best, len(asked), sorted({plan for each in asked for plan in whole(*each)}))


@contextmanager
def collecting(asked: list[tuple[str, Any]]) -> Iterator[None]:
    """Note each statement with its values."""

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        asked.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield


def database_cpu() -> float:
    """Seconds that PostgreSQL's process for this connection has worked; 0 where the database is in this process."""
    if connection.vendor != "postgresql":
        return 0.0
    connection.ensure_connection()
    process = connection.connection.info.backend_pid
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def whole(sql: str, params: Any) -> Iterator[str]:
    """The large tables that this statement's plan reads whole."""
    if not sql.lstrip().upper().startswith("SELECT"):
        return
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {sql}", params)
        for row in cursor.fetchall():
            line = str(row[-1]).strip().removeprefix("->").strip()
            if READS_WHOLE[connection.vendor] in line and any(name in line for name in LARGE):
                yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="only pages whose name or address has one of these in it")
    parser.add_argument(
        "--slow", type=float, default=0.0, help="show only pages that take as many ms, or read a table whole"
    )
    options = parser.parse_args()
    user, _ = get_user_model().objects.get_or_create(
        username="bench", defaults={"is_superuser": True, "is_staff": True}
    )
    logging.disable(logging.ERROR)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    client.get("/admin/")
    count, slow = 0, 0
    for name, address in pages():
        if options.parts and not any(part in name or part in address for part in options.parts):
            continue
        seen = look(client, address)
        count += 1
        is_slow = (seen.cpu + seen.database_cpu) * 1000 >= options.slow
        slow += is_slow
        if is_slow or seen.whole or seen.status >= 500:
            print(
                f"{seen.cpu * 1000:7.0f} ms {seen.database_cpu * 1000:7.0f} ms db {seen.statements:4} statements "
                f"{seen.status}  {address}",
                flush=True,
            )
            for plan in seen.whole:
                print(f"          reads whole: {plan}")
    print(f"{count} pages; {slow} of {options.slow:.0f} ms and more")


if __name__ == "__main__":
    main()
