"""Long looks at texts, in threads beside the event loop, which goes on meanwhile.

A thread that runs Python shares the interpreter with the loop: it gives it up within the switch interval
(gateway.runtime sets 0.2 ms) unless it is within one call into C. So what is done here goes over a text in pieces.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

LONG_CHARACTERS = 8_000  # from here on a thread looks
PIECE_CHARACTERS = 16_384  # what one call into C is given at most
THREADS = 4  # more would only wait for each other, and make the loop wait longer for its turn

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="looking")
P = ParamSpec("P")
T = TypeVar("T")


async def aside(work: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """What `work` gives, run in one of the threads, with this task's context variables."""
    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(_threads, lambda: context.run(work, *args, **options))
