"""What a serving process holds open, and what it does without."""

import os
import subprocess
import sys

LOADED = (
    "import gateway.asgi, gateway.server, sys; print(*sorted({'redis', 'channels_redis', 'daphne'} & set(sys.modules)))"
)


def test_a_process_without_redis_does_not_load_its_client(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        env={**environment, "DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "gateway.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []  # 20 MB that one machine has no use for
