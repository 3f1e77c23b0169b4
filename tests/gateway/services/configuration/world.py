"""The contract's own configuration file as tests apply it: written to a directory, changed, applied."""

from pathlib import Path

import pytest

from gateway.services.configuration.applying import apply_file
from gateway.services.configuration.document import DocumentError

FILE = Path(__file__).parents[3] / "configurations" / "tollgate.yaml"
ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-openai-main-0001",
    "OPENAI_API_KEY_2": "sk-openai-spare-0002",
    "ANTHROPIC_API_KEY": "sk-ant-0003",
    "GEMINI_API_KEY": "gemini-0004",
    "BEDROCK_CREDENTIALS": "AKIA0005:secret0005",
    "ACME_WEB_KEY": "acme-web-key-of-the-operator",
    "ACME_BATCH_KEY": "acme-batch-key-of-the-operator",
    "ALERT_SECRET": "alert-secret-0008",
}


class World:
    """A directory with `tollgate.yaml`, and what happens when it is applied."""

    def __init__(self, directory):
        self.path = directory / "tollgate.yaml"
        self.environment = dict(ENVIRONMENT)
        self.text = FILE.read_text()

    def replace(self, old, new):
        """Change the file's text in one place."""
        assert self.text.count(old) == 1, f"{old!r} stands {self.text.count(old)} times in the file"
        self.text = self.text.replace(old, new)
        return self

    def apply(self, text=None, **options):
        self.path.write_text(self.text if text is None else text)
        return apply_file(path=self.path, environment=self.environment, **options)

    def lines(self, text=None, **options):
        """The plan's lines."""
        return self.apply(text, **options).plan.lines()

    def problems(self, text=None, **options):
        """Every problem without the file's name: `LINE:COL path: message`."""
        with pytest.raises(DocumentError) as refused:
            self.apply(text, **options)
        return [str(problem).removeprefix(f"{self.path}:") for problem in refused.value.problems]
