"""Authentication that belongs to a connection instead of a request: NTLM and Negotiate.

Who has authenticated a connection so is who its later requests are from, whoever sends them
(RFC 4559, section 6): it must never be lent to another client, and the same client must get it
again, because the handshake takes several requests.
"""

from __future__ import annotations

import re

from proxy_core.model.message import RequestHead, ResponseHead

_SCHEMES = re.compile(rb"(?:^|[\s,])(?:ntlm|negotiate)(?:[\s,]|$)", re.IGNORECASE)
_ASKING = (b"authorization", b"proxy-authorization")
_ASKED = (b"www-authenticate", b"proxy-authenticate")


def authenticates_connection(head: RequestHead) -> bool:
    """Whether a request's credentials are its connection's."""
    for name, value in head.headers.fields:
        # Lengths first: this is asked of every request.
        if len(name) in (13, 19) and name.lower() in _ASKING and _SCHEMES.search(value):
            return True
    return False


def asks_connection_to_authenticate(head: ResponseHead) -> bool:
    """Whether a response asks for such credentials."""
    if head.status not in (401, 407):
        return False
    return any(
        name.lower() in _ASKED and _SCHEMES.search(value) for name, value in head.headers.fields
    )
