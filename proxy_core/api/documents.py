"""What any route may answer, and how answers become JSON.

Answers are types, here and in `documents_plugins` and `documents_flows`: they are what is encoded
and what the description is made of. Whatever is named base64 in them is `bytes` in Python.
"""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """Why a request was not answered, and what to do."""

    error: str


class Health(msgspec.Struct, frozen=True):
    """The core is there."""

    status: str = "ok"
    program: str = "int3rceptor"


def encode(document: object) -> bytes:
    """Return a document as JSON."""
    return msgspec.json.encode(document)
