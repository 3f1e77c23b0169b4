"""The audit trail: proving it, holding it, forgetting people."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from audit.models import AuditEvent, CallRecord, Seal, Subject
from audit.services.erasure import NamedInConfiguration, UnderLegalHold, erase_person
from audit.services.holds import place_hold, release_hold
from audit.services.retention import drop_what_is_over
from audit.services.rollups import forget, roll_up
from audit.services.sealing import Sealer
from audit.services.verification import Verifier
from tenants.models import Workspace


class Command(BaseCommand):
    help = "Prove the audit trail, place and release legal holds, erase people, drop what is over its time."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        verify = actions.add_parser("verify", help="verify the records; exits 1 and names the first that does not hold")
        verify.add_argument("--workspace", metavar="W", help="only this workspace")
        verify.add_argument(
            "--anchors",
            metavar="FOLDER",
            type=Path,
            default=settings.DATA_DIR / "seals",
            help="where the copies of the seals lie, e.g. a backup that nobody here can write to (default: %(default)s)",
        )
        verify.add_argument("--all", action="store_true", help="name everything that does not hold, not only the first")

        self._deeds(actions)

    def _deeds(self, actions: Any) -> None:
        for name, told in (
            ("hold", "place a legal hold on a workspace: nothing of it is deleted or erased"),
            ("release", "release the legal hold of a workspace"),
        ):
            deed = actions.add_parser(name, help=told)
            deed.add_argument("--workspace", metavar="W", required=True)
            deed.add_argument("--reason", required=True)
        erase = actions.add_parser(
            "erase", help="erase an end user: destroy the keys of what they said, and their name"
        )
        erase.add_argument("--workspace", metavar="W", required=True)
        erase.add_argument("--user", required=True, help="as callers name them, or their pseudonym")
        actions.add_parser("sums", help="throw away the sums that pictures are drawn from, and make them again")
        actions.add_parser("drop", help="drop what is over its time now, instead of waiting for the job")

    def handle(self, *, action: str, **options: Any) -> None:
        getattr(self, f"_{action}")(**options)

    def _hold(self, *, workspace: str, reason: str, **options: Any) -> None:
        try:
            place_hold(workspace=workspace_named(workspace), reason=reason)
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{workspace} is under a legal hold.")

    def _release(self, *, workspace: str, reason: str, **options: Any) -> None:
        try:
            release_hold(workspace=workspace_named(workspace), reason=reason)
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"The legal hold of {workspace} is released.")

    def _erase(self, *, workspace: str, user: str, **options: Any) -> None:
        try:
            gone = erase_person(workspace=workspace_named(workspace), user=user)
        except (UnderLegalHold, NamedInConfiguration, Subject.DoesNotExist) as error:
            raise CommandError(str(error)) from None
        kept = gone.pop("history", 0)
        self.stdout.write(", ".join(f"{count} {name}" for name, count in gone.items()) + " erased.")
        if kept:
            self.stdout.write(
                f"{kept} rows of the configuration's history name them still; nothing can change those. The changes that "
                "tell of them go after the workspace's records_days."
            )

    def _sums(self, **options: Any) -> None:
        forget()
        self.stdout.write(f"{roll_up(seconds=float('inf'))} hours summed up.")

    def _drop(self, **options: Any) -> None:
        gone = drop_what_is_over(keyring=settings.KEYRING)
        self.stdout.write(", ".join(f"{count} {name}" for name, count in gone.items()) + " dropped.")

    def _verify(self, *, workspace: str | None, anchors: Path, all: bool, **options: Any) -> None:
        ids = None if workspace is None else [id_of(workspace)]
        Sealer(settings.KEYRING, settings.DATA_DIR / "seals")()  # what no serving process has sealed yet
        verifier = Verifier(settings.KEYRING, anchors)
        found = 0
        for finding in verifier.run(ids):
            found += 1
            self.stderr.write(str(finding))
            if not all:
                break
        if found:
            raise CommandError("The audit trail does not hold.", returncode=1)
        proof = verifier.proof
        self.stdout.write(
            f"The audit trail holds: {proof.records} records under {proof.seals} seals, "
            f"{proof.waiting} of them waiting for the next seal, {proof.dropped} dropped when their time was over; "
            f"{proof.anchors} seals compared with their copies in {anchors}."
        )


def workspace_named(name: str) -> Workspace:
    row = Workspace.objects.filter(name=name).first()
    if row is None:
        raise CommandError(f"There is no workspace {name!r}.")
    return row


def id_of(workspace: str) -> str:
    """The id of a workspace, also of one that is gone but has records. Raises CommandError."""
    row = Workspace.objects.filter(name=workspace).first()
    if row is not None:
        return str(row.pk)
    for table in (CallRecord, AuditEvent):
        known = table.objects.filter(workspace=workspace).values_list("workspace_id", flat=True).first()
        if known:
            return str(known)
    if Seal.objects.filter(workspace_id=workspace).exists():
        return workspace
    raise CommandError(f"There is no workspace {workspace!r}.")
