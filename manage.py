#!/usr/bin/env python
"""Django's entry, nothing more."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - app ready: settings first

    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output, e.g. `head`, has enough
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # so that Python's own flush finds no broken pipe
        sys.exit(141)


if __name__ == "__main__":
    main()
