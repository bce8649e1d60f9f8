#!/bin/sh
# Build every Rust plugin here and put its module beside its plugin.toml.
#
#   plugins/build-all.sh            build all
#   plugins/build-all.sh --out DIR  the same into DIR/<plugin>/, manifests copied along
#
# Needs a Rust compiler with the wasm32-unknown-unknown target: rustup's, or the distribution's.
# RUSTC names another compiler. No crates are downloaded.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=
case "${1-}" in
    "") ;;
    --out) out=${2:?--out needs a directory} ;;
    *) echo "usage: $0 [--out DIR]" >&2; exit 2 ;;
esac

target=wasm32-unknown-unknown

has_target() {
    command -v "$1" >/dev/null 2>&1 || return 1
    libdir=$("$1" --print target-libdir --target "$target" 2>/dev/null) || return 1
    ls "$libdir"/libcore-*.rlib >/dev/null 2>&1
}

compiler=
for candidate in "${RUSTC-}" rustc /usr/bin/rustc; do
    if [ -n "$candidate" ] && has_target "$candidate"; then
        compiler=$candidate
        break
    fi
done
if [ -z "$compiler" ]; then
    cat >&2 <<'MISSING'
no Rust compiler with the wasm32-unknown-unknown target was found; install one:
  rustup:          rustup target add wasm32-unknown-unknown
  Debian, Ubuntu:  apt-get install rustc libstd-rust-dev-wasm32 lld
  Fedora:          dnf install rust rust-std-static-wasm32-unknown-unknown lld
  Arch:            pacman -S rust rust-wasm lld
  Alpine:          apk add rust rust-wasm lld
or set RUSTC to one. The modules in the repository are built already.
MISSING
    exit 3
fi
echo "with $("$compiler" --version)"

# The same bytes wherever the tree lies: no paths, no debug information, one codegen unit.
build() {
    "$compiler" --edition 2021 --target "$target" --crate-type cdylib --crate-name "$2" \
        -C opt-level=z -C lto=fat -C codegen-units=1 -C panic=abort -C debuginfo=0 \
        -C strip=symbols -C overflow-checks=off -C target-feature=-bulk-memory \
        -C link-arg=-zstack-size=16384 \
        --remap-path-prefix "$here"=plugins \
        -o "$3" "$1/src/lib.rs"
}

for source in "$here"/*/src/lib.rs; do
    directory=$(dirname "$(dirname "$source")")
    name=$(basename "$directory")
    into=$directory
    if [ -n "$out" ]; then
        into=$out/$name
        mkdir -p "$into"
        cp "$directory/plugin.toml" "$into/"
    fi
    # Built aside and moved, so that whoever watches the file never sees half of it.
    build "$directory" "$(echo "$name" | tr - _)" "$into/.$name.wasm.new"
    chmod 644 "$into/.$name.wasm.new"
    mv "$into/.$name.wasm.new" "$into/$name.wasm"
    echo "$name: $(wc -c <"$into/$name.wasm") bytes"
done
