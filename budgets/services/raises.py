"""Asking that a budget pay more for a time, and granting it. Each is recorded by the row's history."""

from datetime import datetime, timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from budgets.asking import Asked
from budgets.models import Budget, Raise
from budgets.models.budgets import most_countable
from budgets.services import alerts
from budgets.states import subject_names
from tenants.models import ApiKey, Team

ASKED_A_DAY_MOST = 5  # of one budget and subject: a link that is passed around must not fill the table
LONGEST = timedelta(days=366)


def budget_asked(asked: Asked) -> Budget | None:
    """The budget that a link is about, if it is still there."""
    return Budget.objects.select_related("workspace").filter(pk=asked.budget).first()


def ask(
    *, budget: Budget, subject: str, asked_by: str, amount: int | None = None, reason: str = "", tells: bool = True
) -> Raise:
    """Ask for more of a budget for one subject, and tell the workspace's alert channels.

    Asked again while it waits for an answer, the wish is brought up to date. Raises ValidationError.
    """
    if budget.of == Budget.Of.CALL:
        raise ValidationError("A budget of each call is a setting; ask for another one instead.")
    check_amount(amount)
    with transaction.atomic():
        row = Raise.objects.filter(budget=budget, subject=subject, state=Raise.State.ASKED).first()
        is_new = row is None
        if row is None:
            since = timezone.now() - timedelta(days=1)
            if Raise.objects.filter(budget=budget, subject=subject, asked_at__gte=since).count() >= ASKED_A_DAY_MOST:
                raise ValidationError("More was asked for here too often today. Talk to an admin of the workspace.")
            row = Raise(workspace=budget.workspace, budget=budget, subject=subject)
            row.subject_name = name_of(budget, subject)
        row.asked_by, row.reason, row.asked_amount = asked_by[:200], reason[:1000], amount
        row.full_clean()
        row.save()
        if is_new and tells:
            alerts.tell(budget.workspace, *words_of(row))
    return row


def grant(*, row: Raise, amount: int, ends_at: datetime, by: str, note: str = "") -> Raise:
    """Raise the subject's cap by `amount` from now until `ends_at`. Raises ValidationError."""
    now = timezone.now()
    check_open(row)
    check_amount(amount)
    if not now < ends_at <= now + LONGEST:
        raise ValidationError({"ends_at": "Choose a time that is still to come, within a year."})
    check_sum(row.budget, amount)
    row.state, row.amount, row.starts_at, row.ends_at = Raise.State.GRANTED, amount, now, ends_at
    row.decided_by, row.decided_at, row.note = by[:200], now, note[:300]
    row.full_clean()
    row.save()
    return row


def refuse(*, row: Raise, by: str, note: str = "") -> Raise:
    """Say no. Raises ValidationError where it was decided already."""
    check_open(row)
    row.state, row.decided_by, row.decided_at, row.note = Raise.State.REFUSED, by[:200], timezone.now(), note[:300]
    row.save()
    return row


def end(*, row: Raise, by: str, note: str = "") -> Raise:
    """End a granted raise before its time. Raises ValidationError where none runs."""
    now = timezone.now()
    if not row.is_running(now):
        raise ValidationError("This raise does not run.")
    row.ends_at, row.decided_by, row.note = now, by[:200], (note or row.note)[:300]
    row.save()
    return row


def check_open(row: Raise) -> None:
    if row.state != Raise.State.ASKED:
        raise ValidationError(f"This was decided already: {row.get_state_display().lower()} by {row.decided_by}.")


def check_amount(amount: int | None) -> None:
    if amount is not None and amount <= 0:
        raise ValidationError("Ask for more than nothing.")


def check_sum(budget: Budget, amount: int) -> None:
    """Raises ValidationError where the cap with everything that is granted would be more than can be counted."""
    running = Raise.objects.filter(budget=budget, state=Raise.State.GRANTED, ends_at__gt=timezone.now())
    limit = budget.limit_nanos if budget.limit_nanos is not None else budget.limit_tokens
    if (limit or 0) + sum(running.values_list("amount", flat=True)) + amount > most_countable():
        raise ValidationError("With this the budget would be more than can be counted exactly.")


def subject_of(budget: Budget, name: str) -> str:
    """How the ledger writes whom a name means. Raises ValidationError where that can't be told."""
    if budget.of == Budget.Of.WORKSPACE:
        return str(budget.workspace_id)
    name = budget.match or name
    if not name:
        raise ValidationError({"subject": f"Say for which {budget.get_of_display()}: each has this budget by itself."})
    named: type[Team] | type[ApiKey]
    match budget.of:
        case Budget.Of.TEAM:
            named = Team
        case Budget.Of.KEY:
            named = ApiKey
        case _:
            return name
    row = named._default_manager.filter(workspace=budget.workspace, name=name).first()
    if row is None:
        raise ValidationError({"subject": f"There is no {budget.get_of_display()} {name!r} in this workspace."})
    return str(row.pk)


def name_of(budget: Budget, subject: str) -> str:
    """What people call a subject."""
    if budget.of == Budget.Of.WORKSPACE:
        return "the workspace"
    if budget.of not in (Budget.Of.TEAM, Budget.Of.KEY):
        return subject
    names = subject_names(budget.workspace)
    if (budget.of, subject) not in names:
        raise ValidationError(f"The {budget.get_of_display()} that this is about is gone.")
    return names[(budget.of, subject)]


def words_of(row: Raise) -> tuple[dict[str, object], str, str]:
    """(message, subject line, words) that tell of a wish."""
    budget = row.budget
    wanted = row.in_words(row.asked_amount) if row.asked_amount else "more"
    message: dict[str, object] = {
        "event": "budget.more_asked",
        "workspace": budget.workspace.name,
        "budget": budget.name,
        "for": row.subject_name,
        "asked_by": row.asked_by,
        "reason": row.reason,
    }
    subject = f"{budget.workspace.name}: more is asked for of the budget {budget.name}"
    words = f"{row.asked_by} asks for {wanted} of the budget {budget.name} of {budget.workspace.name}"
    words += f" (for {row.subject_name})." + (f" Reason: {row.reason}" if row.reason else "")
    return message, subject, words + "\nGrant or refuse it under Money, Raises."
