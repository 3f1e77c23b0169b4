"""Where calls may go."""

import ipaddress
import socket

import pytest

from gateway.core.egress import EgressRefused, check_url, literal, refusal, resolve

NEVER = [
    "169.254.169.254",
    "fe80::1",
    "fd00:ec2::254",
    "100.100.100.200",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",  # NAT64 of 169.254.169.254, which Python calls global
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",  # 6to4 of it
    "::a9fe:a9fe",
    "224.0.0.1",
    "255.255.255.255",
]
PRIVATE = ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "172.16.0.1", "100.64.0.1", "fd12::1", "0.0.0.0", "fec0::1"]
PUBLIC = ["1.1.1.1", "2606:4700::1111"]


@pytest.mark.parametrize("address", NEVER)
def test_nobody_calls_link_local_and_metadata_addresses_in_any_disguise(address):
    found = ipaddress.ip_address(address)
    assert refusal(found) is not None
    assert refusal(found, public_only=True) is not None


@pytest.mark.parametrize("address", PRIVATE)
def test_a_provider_may_be_private_but_a_webhook_may_not(address):
    found = ipaddress.ip_address(address)
    assert refusal(found) is None
    assert refusal(found, public_only=True) == f"{found} is not a public address"


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_for_both(address):
    assert refusal(ipaddress.ip_address(address), public_only=True) is None


@pytest.mark.parametrize(
    ("spelling", "address"),
    [
        ("127.1", "127.0.0.1"),
        ("2852039166", "169.254.169.254"),
        ("0xa9fea9fe", "169.254.169.254"),
        ("0251.0376.0251.0376", "169.254.169.254"),
        ("169。254。169。254", "169.254.169.254"),
        ("[fe80::1%25eth0]", "fe80::1"),
        ("example.org", None),
        ("10.example.org", None),
    ],
)
def test_an_address_is_seen_through_its_spelling(spelling, address):
    assert literal(spelling) == (None if address is None else ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/x",
        "http:///x",
        "http://u:p@h/",
        "http://127.0.0.1\\@evil/",
        "http://169.254.169.254/",
        "http://h:99999/",
    ],
)
def test_a_url_that_cannot_be_right_is_refused_without_a_resolver(url):
    with pytest.raises(EgressRefused):
        check_url(url)


def test_a_webhook_reaches_a_private_host_only_by_name_in_the_deployment():
    with pytest.raises(EgressRefused):
        check_url("http://127.0.0.1:9109/alerts", public_only=True)
    check_url("http://127.0.0.1:9109/alerts", public_only=True, allowed_hosts=frozenset({"127.0.0.1"}))


def test_a_name_that_resolves_to_a_metadata_address_is_refused(monkeypatch):
    def answers(host, port, family, kind):
        if family == socket.AF_INET6:
            raise OSError
        return [(family, kind, 6, "", (a, port)) for a in ("93.184.216.34", "169.254.169.254")]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    with pytest.raises(EgressRefused, match=r"169\.254\.169\.254 is a link-local address"):
        resolve("rebinding.example", 443)
