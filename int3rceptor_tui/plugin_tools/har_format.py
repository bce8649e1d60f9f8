"""HAR 1.2 archives as the tools of this world write them: JSON and its shapes, nothing of flows.

Browsers, proxies and API clients differ in what they leave out, and in what is a number and what is
a text; whatever does not matter may be anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from proxy_core.errors import ConfigError

ENTRIES: Final = 10_000
_QUOTED: Final = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A"}  # as browsers do it

Loose = str | int | float | bool | None
"""A text that some tools write as something else."""


class HarError(ConfigError):
    """An archive that is not one, or is too large."""


class Pair(msgspec.Struct):
    """A header field."""

    name: str
    value: Loose = ""


class Parameter(msgspec.Struct, rename="camel"):
    """A field of a form."""

    name: str
    value: Loose = ""
    file_name: Loose = None
    content_type: Loose = None


class Content(msgspec.Struct, rename="camel"):
    """A body: its text, or, of some forms, only their fields."""

    text: str | None = None
    encoding: Loose = None
    mime_type: Loose = None
    params: list[Parameter] | None = None


class Request(msgspec.Struct, rename="camel"):
    """What was asked."""

    method: str
    url: str
    headers: list[Pair] | None = None
    http_version: Loose = None
    post_data: Content | None = None


class Response(msgspec.Struct, rename="camel"):
    """What was answered; without a status where nothing was."""

    status: int | None = None
    headers: list[Pair] | None = None
    status_text: Loose = None
    http_version: Loose = None
    content: Content | None = None


class Message(msgspec.Struct, rename="camel"):
    """A message of a WebSocket, as Chromium, Firefox, Playwright and mitmproxy write them."""

    type: str
    opcode: int
    data: str = ""
    time: float | None = None


class Entry(msgspec.Struct, rename="camel"):
    """One exchange."""

    request: Request
    response: Response | None = None
    started_date_time: Loose = None
    server_address: Loose = msgspec.field(name="serverIPAddress", default=None)
    connection: Loose = None
    messages: list[Message] | None = msgspec.field(name="_webSocketMessages", default=None)


def entries_of(data: bytes, name: str) -> list[Any]:
    """Return what an archive's bytes hold, unjudged; `name` is for messages. Raises HarError."""
    try:
        archive = json.loads(data)  # unlike others, it takes half a surrogate, which mitmproxy
    except (ValueError, RecursionError) as error:  # writes for a byte that is not UTF-8
        raise HarError(f"{name} is not a HAR 1.2 archive: {error}; is it whole?") from error
    log = archive.get("log") if isinstance(archive, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise HarError(f"{name} is not a HAR 1.2 archive: it has no list log.entries")
    if len(entries) > ENTRIES:
        raise HarError(f"{name} has {len(entries)} entries; at most {ENTRIES} are taken, split it")
    return entries


def entry_of(raw: object) -> Entry:
    """Return an entry. Raises ValueError for what is none."""
    try:
        return msgspec.convert(raw, Entry, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def text_of(loose: Loose) -> str:
    """Return a text that may be written as something else, empty where there is none."""
    return "" if loose is None else str(loose)


def bytes_of(text: str) -> bytes:
    """Return a text's bytes; half a surrogate stands for the byte that was no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def form_of(content: Content, content_type: str) -> bytes:
    """Return the body that a form's fields make, where nothing else of it was written."""
    fields = content.params or ()
    if not content_type.lower().startswith("multipart/form-data"):
        pairs = [(field.name, text_of(field.value)) for field in fields]
        return urlencode(pairs, errors="surrogateescape").encode()
    boundary = content_type.partition("boundary=")[2].partition(";")[0].strip().strip('"')
    if not boundary:
        raise ValueError("a form in parts names no boundary")
    parts = (_part(field, bytes_of(boundary)) for field in fields)
    return b"".join(parts) + b"--%b--\r\n" % bytes_of(boundary)


def _part(field: Parameter, boundary: bytes) -> bytes:
    return b"--%b\r\n%b\r\n%b\r\n" % (
        boundary,
        b"".join(line + b"\r\n" for line in _part_head(field)),
        bytes_of(text_of(field.value)),
    )


def _part_head(field: Parameter) -> Iterator[bytes]:
    names = f'form-data; name="{field.name.translate(_QUOTED)}"'
    if field.file_name is not None:
        names += f'; filename="{text_of(field.file_name).translate(_QUOTED)}"'
    yield bytes_of(f"Content-Disposition: {names}")
    if field.content_type is not None:
        yield bytes_of(f"Content-Type: {text_of(field.content_type)}")
