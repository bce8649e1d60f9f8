"""The ways to look at a body: which suit it, the best first, and the lines of each."""

from __future__ import annotations

from int3rceptor_tui.view_model.body_text import decode_body, looks_binary, to_text
from int3rceptor_tui.view_model.formats import size, size_in_words
from int3rceptor_tui.view_model.image_facts import image_fact
from int3rceptor_tui.view_model.json_text import json_lines
from int3rceptor_tui.view_model.lines import (
    FixedLines,
    FormLines,
    HexLines,
    JoinedLines,
    Lines,
    TextLines,
)
from int3rceptor_tui.view_model.markup_text import looks_like_markup, markup_lines
from int3rceptor_tui.view_model.msgpack_text import msgpack_lines
from int3rceptor_tui.view_model.multipart_text import multipart_lines
from int3rceptor_tui.view_model.protobuf_text import grpc_lines, protobuf_lines
from int3rceptor_tui.view_model.visible import visible
from proxy_core.control.views import BodyView


class Content:
    """One body, decoded once, looked at in several ways."""

    def __init__(self, body: BodyView) -> None:
        decoded = decode_body(body.kept, body.encoding)
        self._data = decoded.data
        self._media = body.content_type or ""
        self._type = self._media.lower()
        self._notes = list(decoded.notes)
        if body.encoding and self._data is not body.kept:
            self._notes.insert(
                0, f"{visible(body.encoding)}, {size_in_words(body.size)} on the wire"
            )
        if body.truncated:
            self._notes.append(f"the first {size(len(body.kept))} of {size(body.size)} were kept")
        fact = image_fact(self._data)
        if fact is not None:
            self._notes.append(fact)
        self._cut = body.truncated
        self._trailers = body.trailers
        self._opened: dict[str, Lines] = {}
        self.modes = self._suitable()

    def _suitable(self) -> tuple[str, ...]:
        if not self._data:
            return ("text",)
        structured = self._structured()
        if structured or looks_binary(self._data):
            return (*structured, "hex", "text")
        text = to_text(self._data, self._type)
        self._opened["text"] = TextLines(text)
        modes = ["text", "hex"]
        if "x-www-form-urlencoded" in self._type:
            self._opened["form"] = FormLines(text)
            modes.insert(0, "form")
        if looks_like_markup(text, self._type):
            markup = markup_lines(text, is_xml="html" not in self._type)
            if markup is not None:
                self._opened["markup"] = markup
                modes.insert(0, "markup")
        pretty = json_lines(text, self._cut)
        if pretty is not None:
            self._opened["json"] = pretty
            modes.insert(0, "json")
        return tuple(modes)

    def _structured(self) -> tuple[str, ...]:
        """Return how a body can be read that says it is in a format of bytes."""
        if self._type.startswith("multipart/"):
            name, lines = "parts", multipart_lines(self._data, self._media)
        elif "grpc" in self._type:
            name, lines = "grpc", grpc_lines(self._data)
        elif "protobuf" in self._type or "x-proto" in self._type:
            name, lines = "protobuf", protobuf_lines(self._data)
        elif "msgpack" in self._type or "messagepack" in self._type:
            name, lines = "msgpack", msgpack_lines(self._data)
        else:
            return ()
        if lines is None:
            return ()
        self._opened[name] = lines
        return (name,)

    def open(self, mode: str) -> Lines:
        """Return the lines of one of `modes`, notes above and trailers below."""
        if mode not in self._opened:
            if mode == "hex":
                self._opened[mode] = HexLines(self._data)
            elif not self._data:
                self._opened[mode] = FixedLines([[("no body", "dim")]])
            else:
                self._opened[mode] = TextLines(to_text(self._data, self._type))
        parts: list[Lines] = []
        if self._notes:
            parts.append(FixedLines([[(note, "notice")] for note in self._notes] + [[]]))
        parts.append(self._opened[mode])
        if self._trailers:
            rows = [
                [(visible(name), "key"), (": ", "dim"), (visible(value), "")]
                for name, value in self._trailers
            ]
            parts.append(FixedLines([[], [("Trailers", "heading")], *rows]))
        return parts[0] if len(parts) == 1 else JoinedLines(*parts)
