"""HTTP/2's error codes (RFC 9113, section 7), as the plain numbers that go over the wire."""

from __future__ import annotations

from h2.errors import ErrorCodes

NO_ERROR = int(ErrorCodes.NO_ERROR)
PROTOCOL_ERROR = int(ErrorCodes.PROTOCOL_ERROR)
INTERNAL_ERROR = int(ErrorCodes.INTERNAL_ERROR)
REFUSED_STREAM = int(ErrorCodes.REFUSED_STREAM)
CANCEL = int(ErrorCodes.CANCEL)
ENHANCE_YOUR_CALM = int(ErrorCodes.ENHANCE_YOUR_CALM)
HTTP_1_1_REQUIRED = int(ErrorCodes.HTTP_1_1_REQUIRED)


def error_name(code: int) -> str:
    """Return the name of an error code (RFC 9113, section 7)."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"error {code:#x}"
