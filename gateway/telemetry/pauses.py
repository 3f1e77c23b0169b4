"""What the interpreter's looking for cycles takes: it stops whoever runs Python, and no profile of functions shows it."""

import gc
import time
from typing import Any


class Pauses:
    """The CPU seconds of all collections between `start` and `stop`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def start(self) -> None:
        gc.callbacks.append(self._note)

    def stop(self) -> None:
        if self._note in gc.callbacks:
            gc.callbacks.remove(self._note)

    def _note(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":  # the same thread stops it, and no other collection begins meanwhile
            self._began = time.thread_time()
        else:
            self.seconds += time.thread_time() - self._began
