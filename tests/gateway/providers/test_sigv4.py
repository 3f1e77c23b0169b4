"""Our signature against botocore's."""

from datetime import UTC, datetime
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from gateway.providers.base import Outgoing
from gateway.providers.sigv4 import Credential, signed

words = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=20)
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
moments = st.integers(1_600_000_000, 3_700_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


def theirs(outgoing: Outgoing, credential: Credential, *, region: str, at: datetime) -> dict[str, str]:
    request = AWSRequest(outgoing.method, outgoing.url, dict(outgoing.headers), outgoing.body)
    keys = Credentials(credential.access_key_id, credential.secret_access_key, credential.session_token or None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: at.replace(tzinfo=None))
        botocore.auth.SigV4Auth(keys, "bedrock", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(
    model=st.text(min_size=1, max_size=30).filter(lambda text: "/" not in text and text.strip(".")),
    body=st.binary(max_size=80),
    headers=st.dictionaries(words.map(lambda name: f"x-{name.lower()}"), values, max_size=4),
    credential=st.builds(Credential, words, words, st.just("") | words),
    at=moments,
)
def test_the_signature_is_botocores(model, body, headers, credential, at):
    url = f"https://bedrock-runtime.eu-west-1.amazonaws.com/model/{quote(model.encode('utf-8', 'ignore'), safe='')}/converse"
    outgoing = Outgoing(url, {"content-type": "application/json", **headers}, body)
    ours = signed(outgoing, credential, region="eu-west-1", service="bedrock", at=at)
    expected = theirs(outgoing, credential, region="eu-west-1", at=at)
    assert ours.headers["authorization"] == expected["authorization"]
    assert ours.headers.get("x-amz-security-token") == expected.get("x-amz-security-token")
    assert ours.headers["x-amz-date"] == expected["x-amz-date"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:18151/model/a/converse", "https://h.example:443/model/a%3A0/invoke"])
def test_ports_are_signed_as_the_client_sends_them(url):
    at = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    outgoing = Outgoing(url, {}, b"{}")
    ours = signed(outgoing, Credential("AK", "SK"), region="us-east-1", service="bedrock", at=at)
    expected = theirs(outgoing, Credential("AK", "SK"), region="us-east-1", at=at)
    assert ours.headers["authorization"] == expected["authorization"]


def test_a_credential_is_two_or_three_parts():
    assert Credential.parse("AK:SK") == ("AK", "SK", "")
    assert Credential.parse("AK:S/K+=:TOKEN==") == ("AK", "S/K+=", "TOKEN==")
    for wrong in ("", "AK", "AK:", ":SK"):
        with pytest.raises(ValueError, match="ACCESS_KEY_ID:SECRET_ACCESS_KEY"):
            Credential.parse(wrong)
