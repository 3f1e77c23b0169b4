"""The pages of this app's rows."""

from budgets.admin import alerts, budgets, prices, raises

__all__ = ["alerts", "budgets", "prices", "raises"]
