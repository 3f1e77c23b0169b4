"""One reference that is swapped whole, so that readers never see half of a change."""

from typing import Generic, TypeVar

T = TypeVar("T")


class Holder(Generic[T]):
    """Holds the current value. A reader takes `current` once and keeps it to the end of its call."""

    __slots__ = ("current",)

    def __init__(self, value: T) -> None:
        self.current = value

    def swap(self, value: T) -> T:
        """Put a new value in place and return the old one. One reference assignment, hence atomic."""
        old, self.current = self.current, value
        return old
