"""Header fields as an ordered multimap of raw bytes (RFC 9110, section 5).

Names compare without regard to case and keep the spelling they came with. Text is a view: fields
decode as UTF-8 where they can and as Latin-1 where they cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Field = tuple[bytes, bytes]
"""One field line: name without colon, value without surrounding white space."""


def text_of(raw: bytes) -> str:
    """Decode bytes from the wire for people: UTF-8, else Latin-1; never fails."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


class Headers:
    """An ordered multimap of header fields; `fields` is the truth and may be read directly."""

    __slots__ = ("fields",)

    def __init__(self, fields: Iterable[Field] = ()) -> None:
        self.fields: list[Field] = list(fields)

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of `name`, or None."""
        wanted = name.lower()
        for key, value in self.fields:
            if key.lower() == wanted:
                return value
        return None

    def get_all(self, name: bytes) -> list[bytes]:
        """Return every value of `name` in wire order."""
        wanted = name.lower()
        return [value for key, value in self.fields if key.lower() == wanted]

    def joined(self, name: bytes) -> bytes | None:
        """Return all values of `name` as one (RFC 9110, section 5.3), or None.

        `set-cookie` may not be joined with commas; its lines are joined with newlines.
        """
        values = self.get_all(name)
        if not values:
            return None
        return (b"\n" if name.lower() == b"set-cookie" else b", ").join(values)

    def add(self, name: bytes, value: bytes) -> None:
        """Append one field line."""
        self.fields.append((name, value))

    def set(self, name: bytes, value: bytes) -> None:
        """Replace the first line of `name`, drop its others; append it where there was none."""
        wanted = name.lower()
        for index, (key, _) in enumerate(self.fields):
            if key.lower() == wanted:
                rest = [f for f in self.fields[index + 1 :] if f[0].lower() != wanted]
                self.fields[index:] = [(key, value), *rest]
                return
        self.fields.append((name, value))

    def remove(self, name: bytes) -> int:
        """Drop every line of `name`; return how many there were."""
        wanted = name.lower()
        kept = [f for f in self.fields if f[0].lower() != wanted]
        removed = len(self.fields) - len(kept)
        self.fields = kept
        return removed

    def copy(self) -> Headers:
        """Return an independent copy."""
        return Headers(self.fields)

    def gaining(self, added: list[Field]) -> Headers:
        """Return a copy with `added` behind the others."""
        grown = Headers()
        grown.fields = self.fields + added
        return grown

    def as_text(self) -> list[tuple[str, str]]:
        """Return (name, value) pairs decoded for people."""
        return [(text_of(name), text_of(value)) for name, value in self.fields]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, bytes) and self.get(name) is not None

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.fields == other.fields

    def __repr__(self) -> str:
        return f"Headers({self.fields!r})"
