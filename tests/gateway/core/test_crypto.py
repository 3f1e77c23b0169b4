"""Secrets at rest: what opens them, and what does not."""

import pytest

from gateway.core.crypto import Keyring, Undecryptable, key_digest, new_key


def test_what_is_sealed_opens_in_its_own_place_only() -> None:
    ring = Keyring([new_key()])
    sealed = ring.seal(b"sk-provider", "credential:1:main")
    assert ring.open(sealed, "credential:1:main") == b"sk-provider"
    with pytest.raises(Undecryptable, match="another row"):
        ring.open(sealed, "credential:2:main")


def test_a_changed_byte_does_not_open() -> None:
    ring = Keyring([new_key()])
    sealed = bytearray(ring.seal(b"sk-provider", "x"))
    sealed[-1] ^= 1
    with pytest.raises(Undecryptable):
        ring.open(bytes(sealed), "x")


def test_a_new_key_in_front_encrypts_while_the_old_one_still_opens() -> None:
    old, new = new_key(), new_key()
    sealed = Keyring([old]).seal(b"secret", "x")
    ring = Keyring([new, old])
    assert ring.open(sealed, "x") == b"secret"
    assert not ring.is_current(sealed)
    assert ring.is_current(ring.seal(b"secret", "x"))
    with pytest.raises(Undecryptable, match="no key"):
        Keyring([new]).open(sealed, "x")


@pytest.mark.parametrize("keys", [[], ["short"], ["!" * 44]])
def test_a_ring_without_a_whole_key_is_refused(keys: list[str]) -> None:
    with pytest.raises(ValueError, match="ENCRYPTION_KEYS"):
        Keyring(keys)


def test_a_key_has_another_digest_under_another_pepper() -> None:
    assert key_digest(b"one", "sk-1") != key_digest(b"two", "sk-1")
    assert len(key_digest(b"one", "sk-\udcff")) == 32
