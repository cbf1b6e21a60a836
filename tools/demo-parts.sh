# Sourced by the demos: an engine in a data folder of its own, the command beside it, the VMs that run for it. Everything
# ends with the script. A demo that starts more ends it in `stop_more`.
source tools/env.sh

# Longest wait for the engine to answer, for a page to be served.
ENGINE_MAX_S=30
SERVE_MAX_S=30

DATA=$(mktemp -d "${TMPDIR:-/tmp}/isobar-demo.XXXXXX")
export ISOBAR_DATA=$DATA
ENGINE=

isobar() { "$ISOBAR" "$@"; }
run() {
    printf '\n$ isobar %s\n' "$*"
    isobar "$@"
}

stop_more() { :; }
stop_all() {
    stop_more
    [ -z "$ENGINE" ] || { kill "$ENGINE" && wait "$ENGINE"; } 2>/dev/null || true
    for pid in $(vms); do kill -9 "$pid" 2>/dev/null || true; done
    tools/registry.sh stop
    rm -rf "$DATA"
}
trap stop_all EXIT

# Process ids of the VMs of this demo's data folder.
vms() {
    local cmdline
    for cmdline in /proc/[0-9]*/cmdline; do
        if tr '\0' ' ' 2>/dev/null <"$cmdline" | grep -q "^[^ ]*qemu-system-x86_64 .*$DATA/"; then
            cmdline=${cmdline#/proc/}
            say "${cmdline%/cmdline}"
        fi
    done
}

# Further options of `isobar serve` are arguments.
start_engine() {
    "$ISOBAR" serve --image "$ISOBAR_IMAGE" --insecure-registry 10.0.2.2:5000 --log warn "$@" >"$DATA/engine.log" 2>&1 &
    ENGINE=$!
    for _ in $(seq $((ENGINE_MAX_S * 10))); do
        if isobar status >/dev/null 2>&1; then return; fi
        kill -0 "$ENGINE" 2>/dev/null || break
        sleep 0.1
    done
    cat "$DATA/engine.log" >&2
    die "the engine did not start"
}

# No VM may be left.
no_vms() {
    local left
    left=$(vms | wc -l)
    say "VMs left: $left"
    [ "$left" = 0 ] || die "VMs are left"
}
