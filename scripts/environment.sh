# shellcheck shell=bash
# Sourced by run, test and check: finds Python, keeps .venv as pyproject.toml wants it.
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

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        is_usable "$PYTHON" || die "PYTHON=$PYTHON is no Python 3.11 or newer"
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null 2>&1 && is_usable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    die "no Python 3.11 or newer found; install one (Debian: apt install python3 python3-venv)" \
        "or set PYTHON=/path/to/python3"
}

# What an installed .venv depends on; a change of any of it installs anew.
stamp_of() {
    { cat "$root/pyproject.toml"; printf '%s\n' "$1" "$root"; } | cksum
}

is_ready() {
    [ -x "$venv/bin/int3rceptor-tui" ] && [ "$(cat "$venv/stamp$1" 2>/dev/null)" = "$(stamp_of "$1")" ] &&
        "$venv/bin/python" -c '' >/dev/null 2>&1
}

install_into_venv() {
    local python log
    log=$(mktemp)
    if ! { [ -x "$venv/bin/python" ] && is_usable "$venv/bin/python" &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
        python=$(find_python)
        "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
            die "$python cannot make virtual environments; install its venv package" \
                "(Debian: apt install python3-venv)"
        printf 'making .venv with %s\n' "$("$python" --version)" >&2
        rm -rf "$venv"
        "$python" -m venv "$venv"
    fi
    printf 'installing into .venv (once, and when pyproject.toml changes)\n' >&2
    if ! "$venv/bin/python" -m pip install --disable-pip-version-check --quiet \
        --editable "$root$1" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        die "pip could not install the project; see above"
    fi
    rm -f "$log"
    stamp_of "$1" >"$venv/stamp$1"
}

prepare() {
    is_ready "$1" && return
    # One at a time: two starts must not fill one .venv.
    if command -v flock >/dev/null 2>&1; then
        exec 9>"$root/.venv.lock"
        flock 9
        is_ready "$1" || install_into_venv "$1"
        exec 9>&-
    else
        install_into_venv "$1"
    fi
}
