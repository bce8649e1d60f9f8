#!/usr/bin/env bash
# setup.sh [--upgrade] [--with-proxy-py]
# Prepares a Debian machine for the benchmarks. Safe to run again:
# it only adds what is missing. All state goes to ${INT3_BENCH_HOME:-/tmp/int3-bench}.
#   --upgrade         upgrade the peers that are installed already
#   --with-proxy-py   also install proxy.py as a peer
# INT3_BENCH_PYTHON=/path/to/python chooses the interpreter of the peers.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
home=${INT3_BENCH_HOME:-/tmp/int3-bench}
upgrade=no
with_proxy_py=no

say() { printf '%s\n' "$*"; }
die() { printf 'setup.sh: %s\n' "$*" >&2; exit 1; }

has_header() {
    command -v gcc >/dev/null && printf '#include <%s>\n' "$1" | gcc -E - >/dev/null 2>&1
}

install_packages() {
    local missing=() pair
    for pair in nginx:nginx-light wrk:wrk hey:hey h2load:nghttp2-client haproxy:haproxy \
        curl:curl gcc:gcc openssl:openssl taskset:util-linux; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    has_header stdio.h || missing+=(libc6-dev)
    has_header openssl/ssl.h || missing+=(libssl-dev)
    if [ ${#missing[@]} -eq 0 ]; then
        say "packages: nothing missing"
        return
    fi
    say "packages: installing ${missing[*]}"
    command -v apt-get >/dev/null || die "no apt-get here; install by hand: ${missing[*]}"
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$home/logs/apt.log"
    say "packages: if apt started nginx or haproxy as a service, it is not needed here"
}

make_certificates() {
    local dir=$home/certs
    if openssl x509 -checkend 86400 -noout -in "$dir/origin.pem" >/dev/null 2>&1 &&
        openssl verify -CAfile "$dir/ca.pem" "$dir/origin.pem" >/dev/null 2>&1 &&
        [ -s "$dir/haproxy.pem" ]; then
        say "certificates: kept"
        return
    fi
    openssl ecparam -name prime256v1 -genkey -noout -out "$dir/ca.key"
    openssl req -x509 -new -key "$dir/ca.key" -sha256 -days 3650 -subj "/CN=INT3 bench CA" \
        -addext "basicConstraints=critical,CA:TRUE" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" -out "$dir/ca.pem"

    cat >"$dir/origin.ext" <<'EXTENSIONS'
subjectAltName=DNS:localhost,DNS:*.fresh.bench.test,IP:127.0.0.1
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
EXTENSIONS
    openssl ecparam -name prime256v1 -genkey -noout -out "$dir/origin.key"
    openssl req -new -key "$dir/origin.key" -subj "/CN=localhost" -out "$dir/origin.csr"
    openssl x509 -req -in "$dir/origin.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" \
        -CAcreateserial -sha256 -days 800 -extfile "$dir/origin.ext" \
        -out "$dir/origin.pem" 2>/dev/null
    cat "$dir/origin.pem" "$dir/origin.key" >"$dir/haproxy.pem"
    chmod 600 "$dir"/*.key "$dir/haproxy.pem"
    say "certificates: made (EC P-256, private CA in $dir/ca.pem)"
}

# make_json FILE BYTES : one JSON object, padded to exactly this size
make_json() {
    local head='{"id":12345,"name":"bench","data":"' tail='"}'
    {
        printf '%s' "$head"
        head -c $(($2 - ${#head} - ${#tail})) /dev/zero | tr '\0' x
        printf '%s' "$tail"
    } >"$1"
}

# ensure_file NAME BYTES MAKER : make www/NAME unless it has the right size
ensure_file() {
    local file=$home/www/$1
    [ "$(stat -c %s "$file" 2>/dev/null || echo none)" = "$2" ] && return
    "$3" "$file" "$2"
    say "www: made $1 ($2 bytes)"
}

make_random() { head -c "$2" /dev/urandom >"$1"; }

make_www() {
    ensure_file s128 128 make_json
    ensure_file s1k 1024 make_json
    ensure_file s64k 65536 make_json
    ensure_file s1m 1048576 make_json
    ensure_file s100m 104857600 make_random
}

build_hsload() {
    local binary=$home/bin/hsload
    if [ -x "$binary" ] && [ ! "$here/hsload.c" -nt "$binary" ]; then
        say "hsload: kept"
        return
    fi
    gcc -O2 -Wall -Wextra -o "$binary" "$here/hsload.c" -lssl -lcrypto -lpthread
    say "hsload: built"
}

usable_python() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# Prints the interpreter for the peers: 3.13, else 3.12, else python3.
find_python() {
    local version candidate
    if [ -n "${INT3_BENCH_PYTHON:-}" ]; then
        usable_python "$INT3_BENCH_PYTHON" || die "INT3_BENCH_PYTHON cannot make a venv"
        say "$INT3_BENCH_PYTHON"
        return
    fi
    for version in 3.13 3.12; do
        while read -r candidate; do
            if usable_python "$candidate"; then
                say "$candidate"
                return
            fi
        done < <(
            find "${HOME:-}/.pyenv/versions" -maxdepth 1 -name "$version.*" 2>/dev/null |
                sort -rV | sed 's,$,/bin/python,'
            say "python$version"
        )
    done
    usable_python python3 || die "python3 cannot make a venv (Debian: apt-get install python3-venv)"
    say python3
}

# install_peer VENV COMMAND PACKAGE : COMMAND exists in VENV afterwards
install_peer() {
    local venv=$home/$1 python
    if ! "$venv/bin/$2" --version >/dev/null 2>&1; then
        python=$(find_python)
        say "$3: installing for $("$python" --version)"
        rm -rf "$venv"
        "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install -q "$3" >"$home/logs/pip-$1.log" 2>&1 ||
            die "pip could not install $3, see $home/logs/pip-$1.log"
    elif [ "$upgrade" = yes ]; then
        "$venv/bin/python" -m pip install -q --upgrade "$3" >"$home/logs/pip-$1.log" 2>&1 ||
            die "pip could not upgrade $3, see $home/logs/pip-$1.log"
    fi
    "$venv/bin/python" - "$3" >"$home/versions/$1" <<'VERSION'
import platform, sys
from importlib.metadata import version
print(f"{sys.argv[1]} {version(sys.argv[1])}, Python {platform.python_version()}")
VERSION
    say "peer: $(cat "$home/versions/$1")"
}

for argument in "$@"; do
    case $argument in
    --upgrade) upgrade=yes ;;
    --with-proxy-py) with_proxy_py=yes ;;
    *) die "unknown argument: $argument" ;;
    esac
done

mkdir -p "$home"/{bin,certs,logs,mitmproxy,tmp,versions,www}
home=$(cd -- "$home" && pwd)
install_packages
make_certificates
make_www
build_hsload
install_peer peer mitmdump mitmproxy
[ "$with_proxy_py" = no ] || install_peer peer-proxypy proxy proxy.py
say "ready: $home"
