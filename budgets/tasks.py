"""This app's background work: telling that budgets fill up."""

from celery import shared_task

from budgets.services import alerts


@shared_task(name="budgets.deliver_alerts", ignore_result=True)  # type: ignore[untyped-decorator]
def deliver_alerts() -> None:
    """Every two seconds. Workers that do it at once share the work; what one leaves behind, the next takes up."""
    alerts.deliver_alerts()
