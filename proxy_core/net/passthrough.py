"""Which TLS is left alone: by the user's patterns, and where clients refuse our certificate."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_MAX_LEARNT = 1024
_REFUSALS = 2
"""After how many handshakes in a row that clients broke off their host is left alone."""


class Passthrough:
    """Decides for each ClientHello. `note` is told what was learnt, for people."""

    def __init__(
        self,
        ignore: Sequence[str] = (),
        allow: Sequence[str] = (),
        learn: bool = False,
        note: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._ignore = [re.compile(pattern, re.IGNORECASE) for pattern in ignore]
        self._allow = [re.compile(pattern, re.IGNORECASE) for pattern in allow]
        self._learn = learn
        self._note = note
        self._refusals: dict[str, int] = {}

    def wants(self, host: str, port: int, sni: str | None) -> bool:
        """Tell whether TLS towards `host`:`port`, asking for `sni`, is passed through."""
        names = [host, f"{host}:{port}"]
        if sni and sni != host:
            names += [sni, f"{sni}:{port}"]
        if any(pattern.search(name) for pattern in self._ignore for name in names):
            return True
        if self._allow and not any(p.search(name) for p in self._allow for name in names):
            return True
        return self._refusals.get(sni or host, 0) >= _REFUSALS

    def accepted(self, host: str) -> None:
        """Note that a client took our certificate for `host`: refusals before it meant nothing."""
        self._refusals.pop(host, None)

    def refused(self, host: str) -> None:
        """Note that a client broke off a handshake in which we were `host`."""
        if not self._learn:
            return
        count = self._refusals.pop(host, 0) + 1
        self._refusals[host] = count
        if len(self._refusals) > _MAX_LEARNT:
            del self._refusals[next(iter(self._refusals))]
        if count == _REFUSALS:
            self._note(f"clients refuse our certificate for {host}: its TLS is passed through now")
