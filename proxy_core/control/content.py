"""Content codings for consoles, which reach nothing deeper than this room."""

from proxy_core.wire.content_coding import LIMIT, DecodedBody, decode_body

__all__ = ["LIMIT", "DecodedBody", "decode_body"]
