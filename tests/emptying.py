"""Lets a test with transaction=True empty its tables afterwards, which the append-only triggers would rightly refuse."""

import pytest
from django.db import connections
from django.test import TransactionTestCase

import budgets.append_only
import evals.append_only
import prompts.append_only
from audit import append_only


@pytest.fixture(autouse=True, scope="session")
def _tables_can_be_emptied_after_a_test():
    """Take the triggers away for the emptying; the post_migrate signal that it sends puts them back."""
    empty = TransactionTestCase._fixture_teardown

    def emptied(self):
        for alias in self._databases_names(include_mirrors=False):
            connection = connections[alias]
            connection.ensure_connection()
            append_only.unguard(connection)
            append_only.uninstall(connection)
            budgets.append_only.uninstall(connection)
            prompts.append_only.uninstall(connection)
            evals.append_only.RULES.uninstall(connection)
        empty(self)

    TransactionTestCase._fixture_teardown = emptied
    yield
    TransactionTestCase._fixture_teardown = empty
