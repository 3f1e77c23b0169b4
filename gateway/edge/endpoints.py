"""Which form is spoken at which path."""

from collections.abc import Mapping

from gateway.core.forms import Form
from gateway.edge.audio import Audio
from gateway.edge.chat import Chat
from gateway.edge.completions import Completions
from gateway.edge.embeddings import Embeddings
from gateway.edge.images import Images
from gateway.edge.messages import Messages
from gateway.edge.moderations import Moderations
from gateway.edge.rerank import Rerank
from gateway.edge.responses import Responses

FORMS: Mapping[str, Form] = {
    "/v1/chat/completions": Chat(),
    "/v1/responses": Responses(),
    "/v1/messages": Messages(),
    "/v1/completions": Completions(),
    "/v1/embeddings": Embeddings(),
    "/v1/rerank": Rerank(),
    "/v1/moderations": Moderations(),
    "/v1/images/generations": Images(),
    "/v1/audio/speech": Audio("audio_speech", "does not speak"),
    "/v1/audio/transcriptions": Audio("audio_transcriptions", "transcribes nothing"),
    "/v1/audio/translations": Audio("audio_translations", "translates no recordings"),
}
