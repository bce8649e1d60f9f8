"""The files of the project, as a clone has them."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_NOT_OURS = {".venv", ".git", "dist", "target", "__pycache__"}


def tracked_files() -> list[Path]:
    """Return the files under version control; without git, all but what tools make."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True
        )
        paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [
            path
            for path in ROOT.rglob("*")
            if not any(part in _NOT_OURS or part.endswith("_cache") for part in path.parts)
        ]
    return sorted(path for path in paths if path.is_file())
