"""The proof of what was called and changed. Ids and names as they were: a record outlives what it is about."""

from audit.models.bodies import BodyKey, CallBody, Subject
from audit.models.calls import CallRecord, Feedback, JournalPosition
from audit.models.events import AuditEvent, LegalHold, SavedFilter
from audit.models.rollups import LateHour, RolledUp, Traffic, TrafficOfUser
from audit.models.seals import PendingLeaves, Seal, SealKey

__all__ = [
    "AuditEvent",
    "BodyKey",
    "CallBody",
    "CallRecord",
    "Feedback",
    "JournalPosition",
    "LateHour",
    "LegalHold",
    "PendingLeaves",
    "RolledUp",
    "SavedFilter",
    "Seal",
    "SealKey",
    "Subject",
    "Traffic",
    "TrafficOfUser",
]
