"""Host names as DNS, SNI and certificates have them: in A-labels (RFC 5890, section 2.3.2.1)."""

from __future__ import annotations

MAX_HOST_NAME = 253
"""Characters of a name in A-labels, without a trailing dot (RFC 1035, section 2.3.4)."""


def to_a_labels(name: str) -> str:
    """Return `name` with its U-labels encoded by IDNA 2008, after the mapping of UTS 46.

    ASCII labels stay as they are: what they may hold is for those to judge who use them.
    Raises ValueError where a label is none.
    """
    if name.isascii():
        return name
    if len(name) > MAX_HOST_NAME:
        raise ValueError(f"a name of {len(name)} characters; at most {MAX_HOST_NAME} pass")
    import idna  # slow to load, and rarely needed: names on the wire are in A-labels already

    labels = idna.uts46_remap(name, std3_rules=False).split(".")
    return ".".join(
        label if label.isascii() else idna.alabel(label).decode("ascii") for label in labels
    )
