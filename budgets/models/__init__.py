"""The money: prices, budgets, what was spent, and who is told."""

from budgets.models.alerts import Alert, AlertChannel, Delivery
from budgets.models.budgets import Budget, check_thresholds, thresholds_default
from budgets.models.ledger import Entry, Exposure, Repricing, Total
from budgets.models.prices import Price
from budgets.models.raises import Raise

__all__ = [
    "Alert",
    "AlertChannel",
    "Budget",
    "Delivery",
    "Entry",
    "Exposure",
    "Price",
    "Raise",
    "Repricing",
    "Total",
    "check_thresholds",
    "thresholds_default",
]
