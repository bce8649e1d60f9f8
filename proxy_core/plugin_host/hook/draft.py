"""The edits of one hook call, kept aside until the hook has returned well.

A draft answers reads with what the plugin has written so far and changes nothing outside; `build`
makes the new head. Writers return the codes of the ABI and never raise.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from proxy_core.model.headers import Field, Headers
from proxy_core.model.message import HTTP_2, RequestHead, ResponseHead, join_authority
from proxy_core.model.message import split_authority as split
from proxy_core.plugin_host.codes import NOT_IN_HOOK, NOT_PERMITTED, OK, OVER_LIMIT
from proxy_core.plugin_host.hook import edit_rules as rules

_NONE: Final = Headers()
HeadT = TypeVar("HeadT", bound=RequestHead | ResponseHead)


class _Draft(Generic[HeadT]):
    """What requests and responses have in common: the fields."""

    __slots__ = ("_edited", "_gained", "also_written", "line_bytes", "original", "touched")

    def __init__(self, original: HeadT) -> None:
        self.original: HeadT = original
        self._gained: list[Field] | None = []
        """The fields added behind all others, while nothing else was done to any."""
        self._edited = _NONE
        """All fields, once something else was."""
        self.line_bytes = 0
        """Bytes of the header lines written so far, whether or not they were others before."""
        self.also_written = 0
        """Bytes of what else was written: names that were removed, texts of fields."""
        self.touched = False
        """Whether something was removed that is not there."""

    @property
    def headers(self) -> Headers:
        """The fields as they are now; read-only."""
        gained = self._gained
        if gained is None:
            return self._edited
        before = self.original.headers
        return Headers(before.fields + gained) if gained else before

    def set_header(self, name: bytes, value: bytes) -> int:
        """Make `value` the only value of `name`."""
        code = self._before_write(name, value)
        if code == OK:
            self._own().set(self._spelled(name), value)
        return code

    def add_header(self, name: bytes, value: bytes) -> int:
        """Append a field line."""
        code = self._before_write(name, value)
        if code == OK:
            gained = self._gained
            (self._edited.fields if gained is None else gained).append((self._spelled(name), value))
        return code

    def remove_header(self, name: bytes) -> int:
        """Drop every line of `name`; return how many there were."""
        lowered = name.lower()
        if lowered in rules.PROXY_OWNED:
            return NOT_PERMITTED
        if lowered not in self.headers:
            self.touched = True
            return 0
        self.also_written += len(name)
        return self._own().remove(lowered)

    @property
    def written(self) -> bool:
        """Whether anything was written, and be it what was there already."""
        return self.touched or self.line_bytes > 0 or self.also_written > 0

    def replace_headers(self, fields: list[Field]) -> int:
        """Make these the only fields, but for those that the proxy owns, which stay.

        Names keep the spelling in which the message has them already.
        """
        code = rules.check_fields([f for f in fields if f[0].lower() not in rules.PROXY_OWNED])
        if code != OK:
            return code
        spellings: dict[bytes, list[bytes]] = {}
        owned: dict[bytes, list[Field]] = {}
        for field in self.headers.fields:
            lowered = field[0].lower()
            spellings.setdefault(lowered, []).insert(0, field[0])
            if lowered in rules.PROXY_OWNED:
                owned.setdefault(lowered, []).append(field)
        result = owned.pop(b"host", [])
        for name, value in fields:
            lowered = name.lower()
            if lowered in rules.PROXY_OWNED:
                result += owned.pop(lowered, [])
            else:
                known = spellings.get(lowered) or [self._spelled(name)]
                result.append((known.pop() if len(known) > 1 else known[0], value))
        for lines in owned.values():
            result += lines
        self._own().fields = result
        return OK

    def _before_write(self, name: bytes, value: bytes) -> int:
        cost = len(name) + len(value) + 4
        gained = self._gained
        if gained is None:
            count = len(self._edited.fields)
        else:
            count = len(self.original.headers.fields) + len(gained)
        if self.line_bytes + cost > rules.HEAD_BYTES or count >= rules.HEADER_COUNT:
            return OVER_LIMIT
        code = rules.check_field(name, value)
        if code == OK:
            self.line_bytes += cost
        return code

    def _spelled(self, name: bytes) -> bytes:
        return name.lower() if self.original.version == HTTP_2 else name

    def _own(self) -> Headers:
        """The fields, for other edits than more of them."""
        if self._gained is not None:
            self._edited, self._gained = self.headers.copy(), None
        return self._edited

    def _changed_headers(self) -> Headers | None:
        """The fields, where they are others than they were."""
        headers = self.headers
        return None if headers.fields == self.original.headers.fields else headers


class RequestDraft(_Draft[RequestHead]):
    """A request that is being edited."""

    __slots__ = ("authority", "method", "path", "scheme")

    def __init__(self, original: RequestHead) -> None:
        _Draft.__init__(self, original)  # which costs half of what super() does
        self.method = original.method
        self.scheme = original.scheme
        self.authority = original.authority
        self.path = original.path

    @property
    def url(self) -> bytes:
        """The absolute URL as it would be sent now."""
        return b"%b://%b%b" % (self.scheme.encode(), self.authority, self.path)

    def set_method(self, raw: bytes) -> int:
        """Change the method, but not to or from HEAD: that changes how the response is framed."""
        if self.original.method == b"CONNECT":
            return NOT_IN_HOOK
        if not rules.is_method(raw) or (raw == b"HEAD") != (self.original.method == b"HEAD"):
            return NOT_PERMITTED
        self.method = raw
        return OK

    def set_url(self, raw: bytes) -> int:
        """Change scheme, authority and path at once."""
        if self.original.method == b"CONNECT":
            return NOT_IN_HOOK
        if len(raw) > rules.TARGET_BYTES:
            return OVER_LIMIT
        parts = rules.split_url(raw)
        if parts is None:
            return NOT_PERMITTED
        self.scheme, authority, self.path = parts
        return self._set_authority(authority)

    def set_path(self, raw: bytes) -> int:
        """Change path and query."""
        if self.original.method == b"CONNECT":
            return NOT_IN_HOOK
        if len(raw) > rules.TARGET_BYTES:
            return OVER_LIMIT
        if not rules.is_path(raw):
            return NOT_PERMITTED
        self.path = raw
        return OK

    def set_scheme(self, raw: bytes) -> int:
        """Change the scheme; a port that was not named follows it."""
        if self.original.method == b"CONNECT":
            return NOT_IN_HOOK
        if raw not in (b"http", b"https"):
            return NOT_PERMITTED
        self.scheme = raw.decode()
        return OK

    def set_host(self, raw: bytes) -> int:
        """Change the host and keep the port."""
        if self.original.method == b"CONNECT":
            return NOT_IN_HOOK
        host = rules.parse_host(raw)
        if host is None or len(raw) > 255:
            return NOT_PERMITTED
        port = split(self.authority, self.scheme)[1]
        return self._set_authority(join_authority(host, port, self.scheme))

    def set_port(self, raw: bytes) -> int:
        """Change the port and keep the host."""
        if self.original.method == b"CONNECT":
            return NOT_IN_HOOK
        port = rules.parse_number(raw, 1, 65535)
        if port is None:
            return NOT_PERMITTED
        host = split(self.authority, self.scheme)[0]
        return self._set_authority(join_authority(host, port, self.scheme))

    def _set_authority(self, authority: bytes) -> int:
        if authority != self.authority:
            self.authority = authority
            if b"host" in self.headers:
                self._own().set(b"Host" if self.original.version != HTTP_2 else b"host", authority)
        return OK

    def build(self) -> RequestHead | None:
        """Return the edited head, or None where nothing is different."""
        old = self.original
        same_line = (
            self.path == old.path
            and self.authority == old.authority
            and self.method == old.method
            and self.scheme == old.scheme
        )
        if same_line and self._gained:
            return old.gaining(self._gained)
        headers = self._changed_headers()
        if same_line and headers is None:
            return None
        return old.replace(
            method=self.method,
            scheme=self.scheme,
            authority=self.authority,
            path=self.path,
            headers=headers,
        )


class ResponseDraft(_Draft[ResponseHead]):
    """A response that is being edited."""

    __slots__ = ("reason", "status")

    def __init__(self, original: ResponseHead) -> None:
        _Draft.__init__(self, original)
        self.status = original.status
        self.reason = original.reason

    def set_status(self, raw: bytes) -> int:
        """Change the status where that does not change the framing; the reason follows."""
        status = rules.parse_number(raw, 200, 599)
        if status is None or not rules.may_change_status(self.original.status, status):
            return NOT_PERMITTED
        if status != self.status:
            self.status = status
            self.reason = rules.standard_reason(status)
        return OK

    def set_reason(self, raw: bytes) -> int:
        """Change the reason phrase."""
        if not rules.is_reason(raw):
            return NOT_PERMITTED
        self.reason = raw
        return OK

    def build(self) -> ResponseHead | None:
        """Return the edited head, or None where nothing is different."""
        old = self.original
        same_line = self.status == old.status and self.reason == old.reason
        if same_line and self._gained:
            return old.gaining(self._gained)
        headers = self._changed_headers()
        if same_line and headers is None:
            return None
        return old.replace(status=self.status, reason=self.reason, headers=headers)


class TrailersDraft(_Draft[RequestHead | ResponseHead]):
    """The trailers of a message that is over: its fields are others than those of `original`."""

    __slots__ = ()

    def __init__(self, original: RequestHead | ResponseHead, trailers: list[Field]) -> None:
        super().__init__(original)
        self._edited, self._gained = Headers(trailers), None

    @property
    def of_response(self) -> bool:
        """Whose trailers these are."""
        return isinstance(self.original, ResponseHead)


Draft = RequestDraft | ResponseDraft | TrailersDraft
