#!/bin/sh
# origin.sh run | start | stop
# The nginx origin of the benchmark; "run" stays in the foreground.
# the benchmarks start and stop their own; this is for use by hand.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
home=${INT3_BENCH_HOME:-/tmp/int3-bench}

run_nginx() {
    mkdir -p "$home/logs" "$home/tmp"
    home=$(cd -- "$home" && pwd)
    cp "$here/nginx.conf" "$home/nginx.conf"
    exec "$@" nginx -e logs/origin.log -p "$home/" -c "$home/nginx.conf"
}

case "${1:-}" in
run) run_nginx ;;
start)
    # Away from the first core, where the measured proxy is pinned.
    if [ "$(nproc)" -gt 1 ]; then
        set -- setsid taskset -c "1-$(($(nproc) - 1))"
    else
        set -- setsid
    fi
    run_nginx "$@" >/dev/null 2>&1 </dev/null &
    ;;
stop) kill "$(cat "$home/origin.pid")" ;;
*)
    echo "usage: origin.sh run|start|stop" >&2
    exit 2
    ;;
esac
