"""Fields as multipart/form-data. A file is {"filename", "content_type", "data"}; a list stands once for each.

A file without `data` is one that is passed on while it still comes: what stands before it and after it is written
apart. The boundary is always our own, so nothing within a file can be taken for the end of it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec


def multipart(fields: Mapping[str, Any], boundary: str) -> bytes:
    """The whole body."""
    return parts(fields, boundary) + f"--{boundary}--\r\n".encode()


def before_file(fields: Mapping[str, Any], boundary: str) -> bytes:
    """All fields, and the head of the file, which is the last."""
    others = {name: value for name, value in fields.items() if name != "file"}
    return parts(others, boundary) + file_head("file", fields["file"], boundary)


def after_file(boundary: str, fields: Mapping[str, Any]) -> bytes:
    """The end of the file and what stands behind it."""
    return b"\r\n" + multipart(fields, boundary)


def parts(fields: Mapping[str, Any], boundary: str) -> bytes:
    written: list[bytes] = []
    for name, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict) and "data" in each:
                written += [file_head(name, each, boundary), each["data"]]
            elif each is not None:
                text = each if isinstance(each, str) else msgspec.json.encode(each).decode()
                written.append(f"{head(name, boundary)}\r\n\r\n{text}".encode())
            else:
                continue
            written.append(b"\r\n")
    return b"".join(written)


def head(name: str, boundary: str) -> str:
    return f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"'


def file_head(name: str, file: Mapping[str, Any], boundary: str) -> bytes:
    opened = f'{head(name, boundary)}; filename="{file["filename"]}"'
    return f"{opened}\r\ncontent-type: {file['content_type']}\r\n\r\n".encode()
