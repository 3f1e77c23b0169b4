"""This app's background work: telling webhooks what happens to prompts."""

from celery import shared_task

from prompts.services import telling


@shared_task(name="prompts.deliver_events", ignore_result=True)  # type: ignore[untyped-decorator]
def deliver_events() -> None:
    """Every two seconds. Workers that do it at once share the work; what one leaves behind, the next takes up."""
    telling.deliver()
