"""Header maps as filters know them: names in lower case, pseudo-header fields first.

What `host` is in HTTP/1 is `:authority` here. Edits go to the drafts of the hook call under way,
and so through the rules of docs/plugin-abi.md, "What may not be written". Filters written for other
proxies look after framing and the connection themselves; here they follow by themselves, so that
writing or removing a field that the proxy owns is taken as done and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import RequestHead, ResponseHead
from proxy_core.plugin_host import codes as abi
from proxy_core.plugin_host.foreign.proxy_wasm.codes import BAD_ARGUMENT, INTERNAL_FAILURE, OK
from proxy_core.plugin_host.hook import edit_rules as rules
from proxy_core.plugin_host.hook.draft import RequestDraft, ResponseDraft


class HeaderMap(Protocol):
    """One map; writers answer with a status. Names are given in any case."""

    def pairs(self) -> list[Field]:
        """All fields."""

    def get(self, name: bytes) -> bytes | None:
        """The first value of a name."""

    def add(self, name: bytes, value: bytes) -> int:
        """Append a field."""

    def replace(self, name: bytes, value: bytes) -> int:
        """Make a value the only one of its name."""

    def remove(self, name: bytes) -> int:
        """Drop all values of a name."""

    def set_all(self, fields: list[Field]) -> int:
        """Make these the only fields."""


class FixedMap:
    """A map that cannot be written; `answer` says why."""

    def __init__(self, pairs: list[Field], answer: int = BAD_ARGUMENT) -> None:
        self._pairs = [(name.lower(), value) for name, value in pairs]
        self._answer = answer

    def pairs(self) -> list[Field]:
        """All fields."""
        return self._pairs

    def get(self, name: bytes) -> bytes | None:
        """The first value of a name."""
        return Headers(self._pairs).get(name)

    def add(self, name: bytes, value: bytes) -> int:
        """Refuse."""
        return self._answer

    replace = add

    def remove(self, name: bytes) -> int:
        """Refuse."""
        return self._answer

    def set_all(self, fields: list[Field]) -> int:
        """Refuse."""
        return self._answer


class TrailerMap:
    """Trailers under edit: the list itself is changed."""

    def __init__(self, fields: list[Field]) -> None:
        self._fields = fields

    def pairs(self) -> list[Field]:
        """All fields."""
        return [(name.lower(), value) for name, value in self._fields]

    def get(self, name: bytes) -> bytes | None:
        """The first value of a name."""
        return Headers(self._fields).get(name)

    def add(self, name: bytes, value: bytes) -> int:
        """Append a field."""
        return self._write([*self._fields, (name, value)], name, value)

    def replace(self, name: bytes, value: bytes) -> int:
        """Make a value the only one of its name."""
        headers = Headers(self._fields)
        headers.set(name, value)
        return self._write(headers.fields, name, value)

    def _write(self, fields: list[Field], name: bytes, value: bytes) -> int:
        if rules.check_field(name, value) != abi.OK or len(fields) > rules.HEADER_COUNT:
            return BAD_ARGUMENT
        self._fields[:] = fields
        return OK

    def remove(self, name: bytes) -> int:
        """Drop all values of a name."""
        wanted = name.lower()
        self._fields[:] = [field for field in self._fields if field[0].lower() != wanted]
        return OK

    def set_all(self, fields: list[Field]) -> int:
        """Make these the only fields."""
        if rules.check_fields(fields) != abi.OK:
            return BAD_ARGUMENT
        self._fields[:] = fields
        return OK


class _DraftMap:
    """What the maps of requests and responses under edit share."""

    def __init__(self, draft: RequestDraft | ResponseDraft) -> None:
        self._fields_of = draft

    def pairs(self) -> list[Field]:
        """All fields, pseudo-header fields first."""
        return [*self._pseudo(), *_regular(self._fields_of.headers)]

    def get(self, name: bytes) -> bytes | None:
        """The first value of a name."""
        name = _aliased(name)
        if name.startswith(b":"):
            return dict(self._pseudo()).get(name)
        return self._fields_of.headers.get(name)

    def add(self, name: bytes, value: bytes) -> int:
        """Append a field; a pseudo-header field is there once, and is replaced."""
        return self._write(name, value, self._fields_of.add_header)

    def replace(self, name: bytes, value: bytes) -> int:
        """Make a value the only one of its name."""
        return self._write(name, value, self._fields_of.set_header)

    def _write(self, name: bytes, value: bytes, write: Callable[[bytes, bytes], int]) -> int:
        lowered = _aliased(name)
        if lowered.startswith(b":"):
            return _status(self._set_pseudo(lowered, value))
        if lowered in rules.PROXY_OWNED:
            return OK
        return _status(write(name, value))

    def remove(self, name: bytes) -> int:
        """Drop all values of a name."""
        if name.startswith(b":"):
            return BAD_ARGUMENT
        if name.lower() not in rules.PROXY_OWNED:
            self._fields_of.remove_header(name)
        return OK

    def set_all(self, fields: list[Field]) -> int:
        """Make these the only fields, but for those that the proxy owns; all or nothing."""
        pseudo = [(name, value) for name, value in fields if _aliased(name).startswith(b":")]
        rest = [(name, value) for name, value in fields if not _aliased(name).startswith(b":")]
        allowed = [field for field in rest if field[0].lower() not in rules.PROXY_OWNED]
        code = rules.check_fields(allowed)
        if code != abi.OK:
            return _status(code)
        before = self._snapshot()
        for name, value in pseudo:
            code = self._set_pseudo(_aliased(name), value)
            if code != abi.OK:
                self._restore(before)
                return _status(code)
        code = self._fields_of.replace_headers(rest)
        if code != abi.OK:
            self._restore(before)
        return _status(code)

    def _pseudo(self) -> list[Field]:
        raise NotImplementedError

    def _set_pseudo(self, name: bytes, value: bytes) -> int:
        raise NotImplementedError

    def _snapshot(self) -> tuple[bytes, ...]:
        return tuple(value for _, value in self._pseudo())

    def _restore(self, before: tuple[bytes, ...]) -> None:
        for (name, _), value in zip(self._pseudo(), before, strict=True):
            self._set_pseudo(name, value)


class RequestMap(_DraftMap):
    """The request under edit."""

    def __init__(self, draft: RequestDraft) -> None:
        super().__init__(draft)
        self._draft = draft

    def _pseudo(self) -> list[Field]:
        return pseudo_of(self._draft)

    def _set_pseudo(self, name: bytes, value: bytes) -> int:
        draft = self._draft
        match name:
            case b":method":
                return abi.OK if value == draft.method else draft.set_method(value)
            case b":scheme":
                return abi.OK if value == draft.scheme.encode() else draft.set_scheme(value)
            case b":path":
                if value == draft.path:
                    return abi.OK
                if not rules.is_path(value):
                    return abi.NOT_PERMITTED
                return draft.set_url(b"%b://%b%b" % (draft.scheme.encode(), draft.authority, value))
            case b":authority":
                if value == draft.authority:
                    return abi.OK
                if not rules.is_authority(value):
                    return abi.NOT_PERMITTED
                return draft.set_url(b"%b://%b%b" % (draft.scheme.encode(), value, draft.path))
        return abi.NOT_PERMITTED


class ResponseMap(_DraftMap):
    """The response under edit."""

    def __init__(self, draft: ResponseDraft) -> None:
        super().__init__(draft)
        self._draft = draft

    def _pseudo(self) -> list[Field]:
        return [(b":status", b"%d" % self._draft.status)]

    def _set_pseudo(self, name: bytes, value: bytes) -> int:
        return self._draft.set_status(value) if name == b":status" else abi.NOT_PERMITTED


def pseudo_of(request: RequestHead | RequestDraft) -> list[Field]:
    """The pseudo-header fields of a request, whichever HTTP it came in."""
    return [
        (b":authority", request.authority),
        (b":path", request.path),
        (b":method", request.method),
        (b":scheme", request.scheme.encode()),
    ]


def read_only(head: RequestHead | ResponseHead, answer: int = BAD_ARGUMENT) -> FixedMap:
    """The map of a message that may not be written; `answer` is what writers get."""
    if isinstance(head, RequestHead):
        return _ReadRequest([*pseudo_of(head), *_regular(head.headers)], answer)
    return FixedMap([(b":status", b"%d" % head.status), *_regular(head.headers)], answer)


class _ReadRequest(FixedMap):
    def get(self, name: bytes) -> bytes | None:
        """The first value of a name."""
        return super().get(_aliased(name))


def editable(draft: RequestDraft | ResponseDraft, allowed: bool) -> HeaderMap:
    """The map of a message under edit; without permission it can only be read."""
    if not allowed:
        head = draft.build() or draft.original
        return read_only(head, INTERNAL_FAILURE)
    return RequestMap(draft) if isinstance(draft, RequestDraft) else ResponseMap(draft)


def _regular(headers: Headers) -> list[Field]:
    lowered = [(name.lower(), value) for name, value in headers.fields]
    return [field for field in lowered if field[0] != b"host"]


def _aliased(name: bytes) -> bytes:
    lowered = name.lower()
    return b":authority" if lowered == b"host" else lowered


def _status(code: int) -> int:
    return OK if code == abi.OK else BAD_ARGUMENT
