"""Who is let in, and what those are told who are not."""

import time
from ipaddress import ip_network

import pytest

from gateway.core.call import Call, Caller
from gateway.core.crypto import key_digest
from gateway.core.errors import Forbidden, Unauthenticated
from gateway.edge.chat import Chat
from tenants.snapshot import KeyView, TenantsSnapshot, WorkspaceView
from tenants.stage import authenticate

PEPPER = b"pepper"
SECRET = "sk-test-0123456789"
CALLER = Caller(workspace_id="1", workspace="acme", key_id="k", key="web")


def tenants(
    *, active: bool = True, peppers: tuple[bytes, ...] = (PEPPER,), blocked: tuple[str, ...] = (), **fields: object
) -> TenantsSnapshot:
    users = frozenset(blocked)
    workspace = WorkspaceView("1", "acme", "UTC", active, "reject", "closed", "open", "spool", users)
    view = KeyView(caller=CALLER, workspace=workspace, **fields)  # type: ignore[arg-type]
    return TenantsSnapshot(keys={key_digest(PEPPER, SECRET): view}, peppers=peppers)


def call(secret: str = SECRET, peer: str = "10.1.2.3") -> Call:
    return Call(id="1", form=Chat(), body={}, secret=secret, peer=peer)


def test_a_key_names_its_caller() -> None:
    assert authenticate(call(), tenants()) == CALLER


def test_a_key_made_under_an_older_secret_still_opens() -> None:
    assert authenticate(call(), tenants(peppers=(b"newer", PEPPER))) == CALLER


@pytest.mark.parametrize("secret", ["", "sk-test-0123456788", SECRET + "0", SECRET.upper()])
def test_another_key_opens_nothing(secret: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        authenticate(call(secret), tenants())
    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"revoked": True}, "revoked_api_key"),
        ({"expires_at": time.time() - 1}, "expired_api_key"),
        ({"active": False}, "revoked_api_key"),
        ({"revoked": True, "expires_at": time.time() - 1}, "revoked_api_key"),
    ],
)
def test_a_key_that_no_longer_opens_says_why_and_whose_it_was(fields: dict, code: str) -> None:
    asked = call()
    with pytest.raises(Unauthenticated) as caught:
        authenticate(asked, tenants(**fields))
    assert (caught.value.code, asked.caller) == (code, CALLER)


@pytest.mark.parametrize(
    ("peer", "network", "lets_in"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("::ffff:10.1.2.3", "10.0.0.0/8", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db9::1", "2001:db8::/32", False),
        ("", "10.0.0.0/8", False),
        ("not an address", "10.0.0.0/8", False),
    ],
)
def test_a_key_with_networks_opens_from_within_them_only(peer: str, network: str, lets_in: bool) -> None:
    view = tenants(networks=(ip_network(network),))
    if lets_in:
        assert authenticate(call(peer=peer), view) == CALLER
    else:
        with pytest.raises(Forbidden) as caught:
            authenticate(call(peer=peer), view)
        assert caught.value.code == "ip_not_allowed"


@pytest.mark.parametrize(("user", "lets_in"), [("mallory", False), ("Mallory", True), ("ann", True), ("", True)])
def test_a_blocked_end_user_comes_in_by_no_key_of_the_workspace(user: str, lets_in: bool) -> None:
    view = tenants(blocked=("mallory",))
    asked = call()
    asked.controls.user = user
    if lets_in:
        assert authenticate(asked, view) == CALLER
    else:
        with pytest.raises(Forbidden) as caught:
            authenticate(asked, view)
        assert (caught.value.code, asked.caller) == ("user_blocked", CALLER)
