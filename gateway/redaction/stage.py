"""Masking personal data on the way out, and putting it back on the way in."""

from collections.abc import Iterable
from functools import lru_cache, partial
from types import TracebackType
from typing import Any

from gateway.core.aside import LONG_CHARACTERS, aside
from gateway.core.call import Call, Delta
from gateway.core.errors import Forbidden, InvalidRequest
from gateway.core.forms import SOUND_FORMS
from gateway.core.texts import is_long
from gateway.redaction.finder import KINDS, PERSONAL, Rules, finder
from gateway.redaction.masking import DetectorFailed, Masker, placeholders_in
from gateway.redaction.streams import Restorer, restored_answer
from gateway.redaction.vault import Vault
from gateway.snapshot import RedactionView, RoutesSnapshot

PII = "pii"
_NONE: frozenset[str] = frozenset()
_ON_DEMAND = RedactionView(frozenset(), "restore")  # for calls that ask for it where the workspace does not


async def mask(call: Call, routes: RoutesSnapshot) -> None:
    """Mask what the workspace's policy and the call itself name, in the body and in what the record keeps.

    The call's body becomes a masked copy; the caller's own objects are not changed. Raises Forbidden
    (redaction_blocked) where the policy refuses such calls or a detector failed, and InvalidRequest for a kind that
    there is none of.
    """
    view = policy(call, routes)
    if view is None:
        call.is_masked = True
        return
    controls = call.controls
    asked = asked_kinds(controls.redact) if controls.redact else _NONE
    try:
        found = finder(rules(view, asked))
    except Exception:
        if view.on_error == "allow":
            call.is_masked = True
            _note_failure(call, "allowed")
            return
        raise _failed() from None
    vault = Vault(partial(placeholders_in, call.body), gives_back=view.action == "restore")
    masker = Masker(found, vault, on_error=view.on_error, pepper=routes.pepper)
    try:
        if found.is_slow or is_long(call.body, LONG_CHARACTERS) or _has_long_labels(call):
            await aside(_mask_body, call, masker)
        else:
            _mask_body(call, masker)
    except DetectorFailed:
        call.body, call.chat = {}, None
        raise _failed() from None
    call.is_masked = True
    if masker.failures:
        _note_failure(call, "masked" if view.on_error == "mask" else "allowed")
    if not vault.found:
        return
    call.redacted = sum(vault.found.values())
    call.guardrails.append(
        {"kind": "redaction", "on": "input", "verdict": "masked", "found": dict(sorted(vault.found.items()))}
    )
    if view.action == "block":
        call.guardrails[-1]["verdict"] = "blocked"
        raise _blocked(vault.found)
    call.vault = vault


def policy(call: Call, routes: RoutesSnapshot) -> RedactionView | None:
    """What applies to this call, or None. Costs a look-up where nothing does."""
    view = routes.redaction.get(call.caller.workspace_id) if call.caller is not None else None
    if view is None:
        return _ON_DEMAND if call.controls.redact else None
    return view if view.detect or view.patterns or view.words or call.controls.redact else None


@lru_cache(maxsize=512)
def asked_kinds(asked: tuple[str, ...]) -> frozenset[str]:
    """The kinds that a call asks for: names of kinds, or "pii" for all personal ones. Raises InvalidRequest."""
    kinds: set[str] = set()
    for name in asked:
        if name == PII:
            kinds |= PERSONAL
        elif name in KINDS:
            kinds.add(name)
        else:
            raise InvalidRequest(
                f"There is nothing called {name!r} to redact; choose from pii, {', '.join(sorted(KINDS))}.",
                param="redact",
            )
    return frozenset(kinds)


@lru_cache(maxsize=512)
def rules(view: RedactionView, asked: frozenset[str] = _NONE) -> Rules:
    """What to look for: what the policy names, and what the call asks for on top."""
    kinds = view.detect | asked
    if view.patterns or view.words:
        kinds |= {"custom"}
    if view.names:
        kinds |= {"person"}
    return Rules(kinds, view.patterns, view.words, view.names, view.allow, view.engine)


def _mask_body(call: Call, masker: Masker) -> None:
    if call.chat is not None and call.chat is not call.body:
        call.chat = masker.body(call.chat)
        counted = dict(masker.vault.found)
        call.body = masker.body(call.body)
        masker.vault.found = counted or masker.vault.found
    else:
        call.body = masker.body(call.body)
        call.chat = None
    mask_labels(call, masker)


def _has_long_labels(call: Call) -> bool:
    controls = call.controls
    return bool(controls.metadata or controls.tags) and is_long([controls.metadata, *controls.tags], LONG_CHARACTERS)


def mask_labels(call: Call, masker: Masker) -> None:
    """Mask what stands in the record beside the body. The end user's name is no label: it has a pseudonym there."""
    controls = call.controls
    if controls.metadata:
        controls.metadata = masker.labels(controls.metadata)
    if controls.tags:
        controls.tags = tuple(masker.visit(tag, "tags") for tag in controls.tags)
    if controls.session_id:
        controls.session_id = masker.identity(controls.session_id)
    if controls.run_id:
        controls.run_id = masker.identity(controls.run_id)


class sealed:
    """No call's record holds what the workspace masks, also when the call ends before it was masked.

    A call that is refused early has its labels masked on leaving, and its body is let go.
    """

    __slots__ = ("call", "routes")

    def __init__(self, call: Call, routes: RoutesSnapshot) -> None:
        self.call, self.routes = call, routes

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        call = self.call
        if kind is None or call.is_masked or (view := policy(call, self.routes)) is None:
            return
        call.body, call.chat = {}, None
        kept, controls = False, call.controls
        try:
            found = finder(rules(view, asked_kinds(controls.redact)))
            masker = Masker(found, Vault(gives_back=False), on_error="block", pepper=self.routes.pepper)
            if found.is_slow or _has_long_labels(call):
                await aside(mask_labels, call, masker)
            else:
                mask_labels(call, masker)
            kept = True
        except Exception:
            return
        finally:
            if not kept:  # also where the task is cancelled meanwhile
                controls.metadata, controls.tags, controls.session_id, controls.run_id = {}, (), "", ""


# --- The way back ------------------------------------------------------------------------------


def restore(call: Call, delta: Delta) -> Delta:
    """The delta with the caller's originals in place of our placeholders; the same object where it holds none."""
    vault = call.vault
    if vault is None or not vault.gives_back or call.form.name in SOUND_FORMS:
        return delta
    if not call.stream:
        return restored_answer(delta, vault, json_answer=wants_json(call.body))
    if vault.restorer is None:
        vault.restorer = Restorer(vault, json_answer=wants_json(call.body))
    shown: Delta = vault.restorer.restore(delta)
    return shown


def rest(call: Call) -> Iterable[Delta]:
    """What a stream that ended without saying so still holds: a beginning of a placeholder that was none."""
    vault = call.vault
    if vault is None or vault.restorer is None:
        return ()
    last = vault.restorer.rest()
    return () if last is None else (last,)


def wants_json(body: dict[str, Any]) -> bool:
    """Whether the answer's text is to be JSON, so that an original must be escaped as JSON strings are."""
    asked = body.get("response_format")
    if asked is None and isinstance(text := body.get("text"), dict):  # the responses form
        asked = text.get("format")
    return isinstance(asked, dict) and asked.get("type") in ("json_object", "json_schema")


# --- What the caller is told -------------------------------------------------------------------


def _blocked(found: dict[str, int]) -> Forbidden:
    named = ", ".join(kind.replace("_", " ") for kind in sorted(found))
    return Forbidden(
        f"This call holds data that its workspace does not let out: {named}.",
        code="redaction_blocked",
        hint="Take it out of the request, or ask an admin of your workspace to mask it instead (Redaction, action).",
    )


def _failed() -> Forbidden:
    return Forbidden(
        "The look for personal data failed, and this workspace lets nothing out that was not looked at.",
        code="redaction_blocked",
        hint="Try again; if it happens again, give the request id to the gateway's administrator.",
    )


def _note_failure(call: Call, verdict: str) -> None:
    call.guardrails.append({"kind": "redaction", "on": "input", "verdict": "error", "then": verdict})
