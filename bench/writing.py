"""`python -m bench.writing`: what a record costs the writer, by the CPU of its thread; nothing else runs beside it.

Calls with everything on fill a journal, then the writer brings them into the database, with their ledger lines, and the
sealer seals them. With DATABASE_URL set it writes there, else into SQLite.
"""

import argparse
import asyncio
import cProfile
import logging
import os
import pstats
import time
from collections.abc import Callable

from bench.in_process import lines, take
from bench.scenarios import CALLS, SECRETS, configuration
from tests.installation import Installation

EVERYTHING = CALLS[1]


def cpu_us(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return (time.thread_time() - began) * 1e6


def measure(home: Installation, options: argparse.Namespace) -> None:
    from django.conf import settings  # noqa: PLC0415 -- app ready first

    from audit.services.sealing import Sealer  # noqa: PLC0415 -- app ready first
    from audit.writer import Writer, sinks  # noqa: PLC0415 -- app ready first
    from budgets.services.spending import book_records  # noqa: PLC0415 -- app ready first
    from tests.in_process import InProcess  # noqa: PLC0415 -- app ready first

    sinks.append(book_records)
    gateway = InProcess(home.data_dir / "in_process")
    writer, seal = Writer(gateway.journal), Sealer(settings.KEYRING, home.data_dir / "seals")
    profiler = cProfile.Profile(time.thread_time)
    for size in options.sizes:
        written, sealed = [], []
        for number in range(options.rounds):
            asyncio.run(take(gateway, lines(EVERYTHING, size, f"{size}-{number}")))
            if options.profile and number:
                profiler.enable()
            written.append(cpu_us(writer.drain) / size)
            sealed.append(cpu_us(seal) / size)
            profiler.disable()
        print(f"{size:>6} records at once{min(written):>8.1f} µs each written{min(sealed):>7.1f} µs each sealed")
    if options.profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(options.profile)
    gateway.journal.close(remove=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.writing", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[12, 100, 500])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--profile", type=int, default=0, metavar="LINES", help="show where the time goes")
    options = parser.parse_args()
    with Installation(**SECRETS) as home:
        home.apply(configuration(mock=1, stream=1))
        before = dict(os.environ)
        os.environ.update(home.environment)
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
        import django  # noqa: PLC0415 -- slow import, after its settings

        django.setup()
        logging.disable(logging.WARNING)  # each seal is told to the log
        measure(home, options)
        from django.db import connections  # noqa: PLC0415 -- app ready first

        connections.close_all()
        os.environ.update(before)


if __name__ == "__main__":
    main()
