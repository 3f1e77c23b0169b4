"""That there is something to deliver, for whoever delivers in this process."""

import threading

from django.db import transaction

news = threading.Event()


def tell_after_commit() -> None:
    """Wake the courier once the transaction that is open has been committed."""
    transaction.on_commit(news.set)
