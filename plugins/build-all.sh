#!/bin/sh
# Build every plugin here and put its module beside its plugin.toml.
#
#   plugins/build-all.sh            build all
#   plugins/build-all.sh --out DIR  the same into DIR/<plugin>/, manifests copied along
#
# `built-with`, beside the plugins, says what built them: the same compilers make the same bytes.
#
# The source says what is needed: src/lib.rs a Rust compiler with the wasm32-unknown-unknown target,
# rustup's or the distribution's; src/plugin.c clang and wasm-ld; src/plugin.zig zig; src/plugin.ts
# asc, of the npm package assemblyscript. RUSTC, CLANG, ZIG and ASC name others. Nothing is
# downloaded. Where a compiler is missing, the plugins of its language are left out and named, and
# it exits with 3.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=
case "${1-}" in
    "") ;;
    --out) out=${2:?--out needs a directory} ;;
    *) echo "usage: $0 [--out DIR]" >&2; exit 2 ;;
esac

target=wasm32-unknown-unknown
missing=
with= # lines of `built-with`

found() { # source, what compiles it
    echo "with $2"
    with="$with$1: $2
"
}

first_of() { # the first of the commands named that is there
    for candidate; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

has_target() {
    command -v "$1" >/dev/null 2>&1 || return 1
    libdir=$("$1" --print target-libdir --target "$target" 2>/dev/null) || return 1
    ls "$libdir"/libcore-*.rlib >/dev/null 2>&1
}

can_link() {
    linker=$("$1" -print-prog-name=wasm-ld 2>/dev/null) || return 1
    command -v "$linker" >/dev/null 2>&1
}

rust=
for candidate in "${RUSTC-}" rustc /usr/bin/rustc; do
    if [ -n "$candidate" ] && has_target "$candidate"; then
        rust=$candidate
        found src/lib.rs "$("$rust" --version)"
        break
    fi
done
if [ -z "$rust" ]; then
    missing=yes
    cat >&2 <<'MISSING'
no Rust compiler with the wasm32-unknown-unknown target was found; install one:
  rustup:          rustup target add wasm32-unknown-unknown
  Debian, Ubuntu:  apt-get install rustc libstd-rust-dev-wasm32 lld
  Fedora:          dnf install rust rust-std-static-wasm32-unknown-unknown lld
  Arch:            pacman -S rust rust-wasm lld
  Alpine:          apk add rust rust-wasm lld
or set RUSTC to one. The modules in the repository are built already.
MISSING
fi

clang=$(first_of "${CLANG-}" clang /opt/homebrew/opt/llvm/bin/clang) || clang=
if [ -n "$clang" ] && can_link "$clang"; then
    found src/plugin.c "$("$clang" --version | head -n 1)"
else
    clang=
    missing=yes
    echo "no clang with wasm-ld was found: apt-get install clang lld, dnf install clang lld," \
        "brew install llvm lld; or set CLANG to one" >&2
fi

if zig=$(first_of "${ZIG-}" zig python-zig); then
    found src/plugin.zig "zig $("$zig" version)"
else
    zig=
    missing=yes
    echo "no zig was found: get it from ziglang.org, or pip install ziglang; or set ZIG to one" >&2
fi

if asc=$(first_of "${ASC-}" asc); then
    found src/plugin.ts "asc $("$asc" --version | tr V v)"
else
    asc=
    missing=yes
    echo "no asc was found: npm install -g assemblyscript; or set ASC to one" >&2
fi

# The same bytes wherever the tree lies: no paths, no debug information, one codegen unit.
build() { # directory, name, module
    if [ -f "$1/src/lib.rs" ]; then
        "$rust" --edition 2021 --target "$target" --crate-type cdylib \
            --crate-name "$(echo "$2" | tr - _)" \
            -C opt-level=z -C lto=fat -C codegen-units=1 -C panic=abort -C debuginfo=0 \
            -C strip=symbols -C overflow-checks=off -C target-feature=-bulk-memory \
            -C link-arg=-zstack-size=16384 \
            --remap-path-prefix "$here"=plugins \
            -o "$3" "$1/src/lib.rs"
    elif [ -f "$1/src/plugin.c" ]; then
        "$clang" --target=wasm32 -std=c11 -Oz -Wall -nostdlib -fvisibility=hidden \
            -Wl,--no-entry -Wl,--strip-all -Wl,-z,stack-size=16384 -o "$3" "$1/src/plugin.c"
    elif [ -f "$1/src/plugin.ts" ]; then
        (cd "$1" && "$asc" src/plugin.ts --outFile "$3" -Oz --use abort=)
    else
        cache=$(mktemp -d)
        (cd "$1" && "$zig" build-exe src/plugin.zig -target wasm32-freestanding -fno-entry \
            -rdynamic -O ReleaseSmall -fstrip --stack 16384 "-femit-bin=$3" --cache-dir "$cache")
        rm -rf "$cache"
    fi
}

for manifest in "$here"/*/plugin.toml; do
    [ -f "$manifest" ] || continue
    directory=$(dirname "$manifest")
    name=$(basename "$directory")
    if [ -f "$directory/src/lib.rs" ]; then compiler=$rust
    elif [ -f "$directory/src/plugin.c" ]; then compiler=$clang
    elif [ -f "$directory/src/plugin.zig" ]; then compiler=$zig
    elif [ -f "$directory/src/plugin.ts" ]; then compiler=$asc
    else continue
    fi
    if [ -z "$compiler" ]; then
        echo "$name: skipped, its compiler is missing"
        continue
    fi
    into=$directory
    if [ -n "$out" ]; then
        mkdir -p "$out/$name"
        into=$(cd "$out/$name" && pwd)
        cp "$directory/plugin.toml" "$into/"
    fi
    # Built aside and moved, so that whoever watches the file never sees half of it.
    build "$directory" "$name" "$into/.$name.wasm.new"
    chmod 644 "$into/.$name.wasm.new"
    mv "$into/.$name.wasm.new" "$into/$name.wasm"
    echo "$name: $(wc -c <"$into/$name.wasm") bytes"
done
if [ -z "$missing" ] || [ -n "$out" ]; then
    printf %s "$with" >"${out:-$here}/built-with"
fi
[ -z "$missing" ] || exit 3
