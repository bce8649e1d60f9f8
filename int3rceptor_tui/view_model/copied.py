"""A flow as text for the clipboard."""

from __future__ import annotations

import shlex

from int3rceptor_tui.view_model.body_text import decode_body, looks_binary, to_text
from int3rceptor_tui.view_model.formats import size_in_words
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import BodyView, FlowDetail, HeadView
from proxy_core.errors import ControlError

FORMS = ("url", "curl", "request", "response", "body")
"""`body` is the response's."""

_LARGEST = 64 * 1024
"""Bytes: terminals take about 75 kB of base64 at a time, and drop what is longer."""

_BY_CURL = frozenset({"host", "content-length", "transfer-encoding", "connection", "te", "trailer"})
_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def copied(flow: FlowDetail, form: str) -> str:
    """Return a flow in one of FORMS. Raises ControlError where there is no such thing."""
    match form:
        case "url":
            text = flow.url
        case "curl":
            text = _curl(flow)
        case "request":
            text = _message(flow.request, flow.request_body)
        case "response" | "body":
            if flow.response is None or flow.response_body is None:
                raise ControlError(f"flow {flow.summary.id} has no response to copy")
            body = flow.response_body
            text = _message(flow.response, body) if form == "response" else _text(body)
        case _:
            raise ControlError(f"{form!r} is nothing to copy as; there are {', '.join(FORMS)}")
    length = len(text.encode(errors="replace"))
    if length > _LARGEST:
        most = size_in_words(_LARGEST)
        raise ControlError(f"it has {size_in_words(length)}; terminals take no more than {most}")
    return text


def _message(head: HeadView, body: BodyView) -> str:
    lines = [head.start_line, *(f"{name}: {value}" for name, value in head.fields)]
    return "\n".join([*lines, "", _text(body) if body.kept else ""])


def _text(body: BodyView) -> str:
    """Return a body without its content codings. Raises ControlError where it is no text."""
    data = decode_body(body.kept, body.encoding).data
    if looks_binary(data):
        kind = visible(body.content_type or "an unknown type")
        raise ControlError(f"the body is no text, but {size_in_words(body.size)} of {kind}")
    return to_text(data, body.content_type)


def _curl(flow: FlowDetail) -> str:
    """Return the command by which curl would ask the same."""
    method, body = flow.summary.method, flow.request_body
    words = ["curl", _quoted(flow.url)]
    if body.truncated:
        raise ControlError(f"only the first {size_in_words(len(body.kept))} of the body were kept")
    if method == "HEAD":
        words.append("--head")
    elif method != ("POST" if body.kept else "GET"):
        words += ["-X", _quoted(method)]
    for name, value in flow.request.fields:
        if name.lower() == "accept-encoding":
            words.append("--compressed")
        elif name.lower() not in _BY_CURL and not name.lower().startswith(("proxy-", ":")):
            words += ["-H", _quoted(f"{name}: {value}" if value else f"{name};")]
    if body.kept:
        words += ["--data-raw", _quoted(_raw_text(body))]
    return " ".join(words)


def _raw_text(body: BodyView) -> str:
    """Return a body as it was sent, which a command line can only say in UTF-8."""
    try:
        text = body.kept.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ControlError("the request's body is no text, and cannot stand in a command")
    return text


def _quoted(text: str) -> str:
    """Return a shell's word; what is not drawn is spelled out, so that pasting it runs nothing."""
    if visible(text) == text:
        return shlex.quote(text)
    return "$'" + "".join(_escaped(character) for character in text) + "'"


def _escaped(character: str) -> str:
    known = _ESCAPES.get(character)
    if known is not None:
        return known
    if visible(character) == character:
        return character
    return f"\\x{ord(character):02x}" if ord(character) < 0x80 else f"\\U{ord(character):08x}"
