import json

import openai
import pytest

from gateway.core.call import Target
from gateway.core.errors import InvalidRequest
from gateway.edge.audio import form_fields
from gateway.providers import provider_of
from gateway.providers.multipart import multipart
from tests.gateway.edge.through import Gateway, sse

SOUND = bytes(range(256)) * 3 + b"\r\n--not-the-boundary\r\n"


def test_a_recording_reaches_the_provider_as_it_came_with_the_models_own_name():
    gateway = Gateway('{"text":"hello","usage":{"type":"tokens","input_tokens":9,"output_tokens":2}}')
    got = gateway.openai.audio.transcriptions.create(
        model="public",
        file=("é.wav", SOUND, "audio/wav"),
        language="en",
        temperature=0.5,
        timestamp_granularities=["word", "segment"],
        extra_body={"user": "kim", "timeout": 5},
    )
    assert got.text == "hello"
    assert gateway.sent == {
        "model": "theirs",
        "file": {"filename": "é.wav", "content_type": "audio/wav", "data": SOUND},
        "language": "en",
        "temperature": "0.5",
        "timestamp_granularities[]": ["word", "segment"],
    }


def test_a_transcript_may_be_plain_text():
    gateway = Gateway("1\n00:00 --> 00:01\nhello\n")
    got = gateway.openai.audio.transcriptions.create(model="m", file=("a.mp3", b"x"), response_format="srt")
    assert got == "1\n00:00 --> 00:01\nhello\n"


def test_speech_comes_back_as_the_bytes_that_the_provider_made():
    gateway = Gateway("")
    gateway.answer = SOUND
    got = gateway.openai.audio.speech.create(model="m", voice="alloy", input="hi", response_format="wav")
    assert (got.content, got.response.headers["content-type"]) == (SOUND, "audio/wav")
    assert gateway.sent == {"model": "theirs", "voice": "alloy", "input": "hi", "response_format": "wav"}


def test_a_provider_without_sound_is_refused_clearly():
    gateway = Gateway("{}", kind="demo")
    with pytest.raises(openai.BadRequestError) as refused:
        gateway.openai.audio.speech.create(model="m", voice="alloy", input="hi")
    assert (refused.value.code, refused.value.param) == ("unsupported", "model")


def part(name: str, value: str, **more: str) -> str:
    extra = "".join(f'; {key}="{given}"' for key, given in more.items())
    return f'--b\r\ncontent-disposition: form-data; name="{name}"{extra}\r\n\r\n{value}\r\n'


FILE = part("file", "x", filename="a.wav")


@pytest.mark.parametrize(
    ("body", "kind", "param"),
    [
        (FILE + "--b--", "application/json", "content-type"),
        (FILE + "--b--", "multipart/form-data", "content-type"),
        (FILE, "multipart/form-data; boundary=b", None),
        ("", "multipart/form-data; boundary=b", None),
        (part("model", "m") + "--b--", "multipart/form-data; boundary=b", "file"),
        (FILE + FILE + "--b--", "multipart/form-data; boundary=b", "file"),
        ("--b\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b", None),
        (FILE + part("model", "m") * 101 + "--b--", "multipart/form-data; boundary=b", None),
    ],
)
def test_a_body_that_is_no_form_with_a_recording_is_refused(body, kind, param):
    with pytest.raises(InvalidRequest) as refused:
        form_fields(body.encode(), kind)
    assert refused.value.param == param


def test_a_streamed_transcript_comes_event_by_event():
    events = [
        {"type": "transcript.text.delta", "delta": "hel"},
        {"type": "transcript.text.delta", "delta": "lo"},
        {"type": "transcript.text.done", "text": "hello", "usage": {"input_tokens": 9, "output_tokens": 2}},
    ]
    gateway = Gateway(sse(*events, done=False))
    with gateway.openai.audio.transcriptions.create(model="m", file=("a.mp3", b"x"), stream=True) as stream:
        got = [event.to_dict() for event in stream]
    assert got == events
    assert gateway.sent["stream"] is True
    assert gateway.written == gateway.answer


def test_a_transcript_that_breaks_off_ends_with_an_error():
    gateway = Gateway(sse({"type": "transcript.text.delta", "delta": "hel"}, done=False))
    with (
        pytest.raises(openai.APIError, match="ended before"),
        gateway.openai.audio.transcriptions.create(model="m", file=("a.mp3", b"x"), stream=True) as stream,
    ):
        list(stream)


@pytest.mark.parametrize("answer", [b'{"text":"hello"}', b"hello", b"he"])
def test_a_model_that_knows_no_streams_may_answer_in_one_piece(answer):
    target = Target("public", "provider", "openai", "http://provider.example/v1", "theirs")
    for size in (1, 3, 100):
        reader = provider_of(target).reader("audio_transcriptions", target)
        deltas = [each for at in range(0, len(answer), size) for each in reader.feed(answer[at : at + size])]
        assert [each.raw for each in [*deltas, *reader.end()]] == [answer]


def test_what_is_written_as_a_form_is_read_back():
    fields = {
        "a": "é",
        "b[]": ["1", "2"],
        "file": {"filename": "x.bin", "content_type": "audio/wav", "data": SOUND},
    }
    assert form_fields(multipart(fields, "zz"), "multipart/form-data; boundary=zz") == fields
    assert json.loads(
        form_fields(multipart(fields | {"c": {"d": 1}}, "zz"), "multipart/form-data; boundary=zz")["c"]
    ) == {"d": 1}
