"""What the commands print can be cut short by whoever reads it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_a_reader_that_has_enough_ends_a_command_without_a_traceback() -> None:
    command = [sys.executable, "manage.py", "help", "--commands"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.close()
        assert running.stderr is not None
        said = running.stderr.read()

    assert running.returncode == 141
    assert said == b""
