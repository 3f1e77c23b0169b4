"""Keep, rotate and try providers' secrets. They are written, encrypted, and never read back by a person."""

import asyncio
import json
import time
from dataclasses import dataclass
from types import MappingProxyType

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from gateway.core.call import Target
from gateway.core.crypto import Undecryptable
from gateway.core.errors import GatewayError
from gateway.models import Credential, Provider, ServedModel
from gateway.providers import demo, provider_of
from gateway.routing.send import Upstream
from gateway.snapshot import Timeouts

TRIAL = {"messages": [{"role": "user", "content": "ping"}], "max_tokens": 16}
TRIAL_TIMEOUTS = Timeouts(connect=3.0, first_byte=15.0, idle=15.0, total=20.0)


@dataclass(frozen=True, slots=True)
class Trial:
    """How a try went. `message` holds no secret."""

    ok: bool
    message: str
    ms: int


def seal(*, credential: Credential, secret: str) -> Credential:
    """Put a secret into the row, sealed; saving is the caller's. Raises ValidationError for one that can't be sent."""
    secret = secret.strip()
    if not secret:
        raise ValidationError({"secret": "Write the secret that the provider gave you."})
    if "\x00" in secret or len(secret) > 20_000:
        raise ValidationError({"secret": "This can't be a provider's secret."})
    credential.sealed = settings.KEYRING.seal(secret.encode(), credential.seal_context)
    credential.hint = secret[-4:] if len(secret) >= 12 else ""
    credential.set_at = timezone.now()
    return credential


def reseal(*, credential: Credential, old_context: str) -> Credential:
    """Bind the secret to the row's new name; saving is the caller's.

    Raises ValidationError when the secret can't be opened any more, so that it has to be written again.
    """
    if credential.seal_context != old_context:
        try:
            plain = settings.KEYRING.open(bytes(credential.sealed), old_context)
        except Undecryptable as error:
            raise ValidationError({"secret": f"The old secret can't be opened ({error}); write it again."}) from None
        credential.sealed = settings.KEYRING.seal(plain, credential.seal_context)
    return credential


@transaction.atomic
def store_credential(*, provider: Provider, name: str, secret: str, position: int = 0) -> Credential:
    """Make the provider's credential of this name, or replace its secret. Raises ValidationError, by field."""
    credential = Credential.objects.filter(provider=provider, name=name).first()
    if credential is None:
        credential = Credential(provider=provider, name=name, position=position)
    seal(credential=credential, secret=secret)
    credential.full_clean()
    credential.save()
    return credential


def try_credential(*, credential: Credential, upstream: Upstream | None = None) -> Trial:
    """Ask the provider one short question with this credential: a real call, which may cost a fraction of a cent."""
    model = (
        ServedModel.objects.filter(provider=credential.provider, kind=ServedModel.Kind.CHAT).order_by("name").first()
    )
    if model is None:
        return Trial(False, "This provider has no chat model yet to ask. Add one under Models, then try again.", 0)
    try:
        target = _target(credential, model)
    except Undecryptable as error:
        return Trial(False, f"The secret can't be opened: {error}. Write it again.", 0)
    began = time.perf_counter()
    try:
        asyncio.run(_ask(target, upstream or Upstream(in_process={"demo": demo.respond})))
    except GatewayError as error:
        return Trial(False, f"{model.name}: {_without(error.message, target.secret)}", _ms(began))
    return Trial(True, f"{model.name} answered.", _ms(began))


async def _ask(target: Target, upstream: Upstream) -> None:
    """Raises GatewayError unless the provider answers as it should."""
    adapter = provider_of(target)
    outgoing = adapter.request({**TRIAL, "model": target.upstream}, "chat", target, stream=False)
    answer = await upstream.send(outgoing, TRIAL_TIMEOUTS, target.kind)
    if answer.status >= 300:
        raise adapter.error(answer.status, answer.headers, answer.body)
    adapter.answer(answer.body, "chat", target)


def _target(credential: Credential, model: ServedModel) -> Target:
    provider = credential.provider
    return Target(
        model=model.name,
        provider=provider.name,
        kind=provider.kind,
        base_url=provider.base_url.rstrip("/"),
        upstream=model.upstream,
        credential=credential.name,
        secret=credential.secret,
        region=provider.region,
        api_version=provider.api_version,
        max_output_tokens=model.max_output_tokens,
        quirks=MappingProxyType(dict(provider.quirks)),
    )


def _without(text: str, secret: str) -> str:
    """The text with the secret, should a provider repeat it, and its JSON form taken out."""
    for form in (secret, json.dumps(secret)[1:-1]):
        if len(form) >= 4:
            text = text.replace(form, "…")
    return text[:500]


def _ms(began: float) -> int:
    return round((time.perf_counter() - began) * 1000)
