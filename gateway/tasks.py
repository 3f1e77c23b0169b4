"""The gateway's background work: what needs calls and another app's rows."""

from celery import shared_task

from gateway.services.experiments import watch_experiments as watch


@shared_task(name="gateway.watch_experiments", ignore_result=True)  # type: ignore[untyped-decorator]
def watch_experiments() -> None:
    """Every few seconds: stop experiments whose guards break."""
    watch()
