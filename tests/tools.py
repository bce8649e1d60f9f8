"""The programs beyond Python that tests use: found on PATH and where Debian puts servers."""

from __future__ import annotations

import shutil


def find_tool(name: str) -> str | None:
    """Return the path of an installed program."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
