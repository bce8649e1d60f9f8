# shellcheck shell=bash
# Sourced by the other scripts: finds Python, keeps .venv as pyproject.toml wants it.
# prepare EXTRAS: afterwards $venv/bin has the project, editable, with the extras ("" or "[test]").

set -euo pipefail
root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)
venv=$root/.venv

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

makes_environments() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

# Which installation an interpreter belongs to; the same inside and outside a virtual environment.
identity_of() {
    "$1" -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null
}

# Prints the interpreter to make .venv with.
find_python() {
    local candidate incomplete=
    if [ -n "${PYTHON:-}" ]; then
        is_usable "$PYTHON" || die "PYTHON=$PYTHON is no Python 3.11 or newer"
        makes_environments "$PYTHON" ||
            die "PYTHON=$PYTHON has no venv and ensurepip (Debian: apt install python3-venv)"
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if command -v "$candidate" >/dev/null 2>&1 && is_usable "$candidate"; then
            if makes_environments "$candidate"; then
                command -v "$candidate"
                return
            fi
            incomplete=$(command -v "$candidate")
        fi
    done
    [ -z "$incomplete" ] ||
        die "$incomplete has no venv and ensurepip; install its venv package" \
            "(Debian: apt install python3-venv) or set PYTHON=/path/to/another"
    die "no Python 3.11 or newer found; install one (Debian: apt install python3 python3-venv)" \
        "or set PYTHON=/path/to/python3"
}

# What an installed .venv depends on; a change of any of it installs anew.
stamp_of() {
    { cat "$root/pyproject.toml"; printf '%s\n' "$1" "$root"; } | cksum
}

# The test extra holds all that a plain installation does.
is_ready() {
    local extras
    for extras in "$1" "[test]"; do
        [ "$(cat "$venv/stamp$extras" 2>/dev/null)" = "$(stamp_of "$extras")" ] && return
    done
    return 1
}

is_sound() {
    [ -x "$venv/bin/python" ] && is_usable "$venv/bin/python" && {
        [ -z "${PYTHON:-}" ] || [ "$(identity_of "$PYTHON")" = "$(identity_of "$venv/bin/python")" ]
    }
}

install_into_venv() {
    local log python
    if ! { is_sound && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
        python=$(find_python)
        printf 'making .venv with %s\n' "$("$python" --version)" >&2
        rm -rf "$venv"
        "$python" -m venv "$venv"
    fi
    rm -f "$venv"/stamp*
    printf 'installing into .venv (once, and when pyproject.toml changes)\n' >&2
    log=$(mktemp)
    if ! "$venv/bin/python" -m pip install --disable-pip-version-check --quiet \
        --editable "$root$1" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        die "pip could not install the project; see above"
    fi
    rm -f "$log"
    stamp_of "$1" >"$venv/stamp$1"
}

# One at a time: two starts must not fill one .venv. The lock belongs to the open file, so it
# outlives the interpreter that takes it (not every system has flock(1)).
take_lock() {
    exec 9>"$root/.venv.lock"
    "$1" - <<'PYTHON'
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("waiting for another start that prepares .venv", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)
PYTHON
}

prepare() {
    local python
    if is_sound; then
        python=$venv/bin/python
    else
        python=$(find_python)
    fi
    take_lock "$python"
    { is_sound && is_ready "$1"; } || install_into_venv "$1"
    exec 9>&-
}
