#!/usr/bin/env bash
# A real registry (Debian's docker-registry) on loopback, and the demo's image in it: busybox's web server, built by
# umoci without a network. The package is unpacked, not installed: installing it would start a service.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source tools/env.sh

PORT=${ISOBAR_REGISTRY_PORT:-5000}
HOME_FOLDER=${ISOBAR_REGISTRY_HOME:-$ISOBAR_CACHE/registry}
PACKAGE=$ISOBAR_CACHE/registry/package
IMAGE=shop/web:1

registry_program() {
    command -v docker-registry && return
    local unpacked=$PACKAGE/usr/bin/docker-registry
    if [ ! -x "$unpacked" ]; then
        say "fetching Debian's docker-registry" >&2
        mkdir -p "$PACKAGE"
        (
            cd "$PACKAGE/.."
            apt-get download -qq docker-registry >&2
            dpkg-deb -x docker-registry_*.deb "$PACKAGE"
            rm docker-registry_*.deb
        ) || die "docker-registry could not be fetched" "run \`apt-get update\` as root, then start again"
    fi
    say "$unpacked"
}

answers() { curl -fsS -o /dev/null --max-time 2 "http://127.0.0.1:$PORT/v2/" 2>/dev/null; }

running_pid() {
    local pid
    pid=$(cat "$HOME_FOLDER/pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null && say "$pid"
}

start() {
    need_packages demo
    if running_pid >/dev/null && answers; then
        return
    fi
    ! answers || die "port $PORT is in use" "stop what listens there, or set ISOBAR_REGISTRY_PORT"
    mkdir -p "$HOME_FOLDER"
    cat >"$HOME_FOLDER/config.yml" <<YAML
version: 0.1
log: { level: warn }
storage: { filesystem: { rootdirectory: $HOME_FOLDER/data } }
http: { addr: "127.0.0.1:$PORT" }
YAML
    local program
    program=$(registry_program)
    setsid "$program" serve "$HOME_FOLDER/config.yml" >"$HOME_FOLDER/log" 2>&1 </dev/null &
    echo $! >"$HOME_FOLDER/pid"
    for _ in $(seq 50); do
        if answers; then return; fi
        running_pid >/dev/null || break
        sleep 0.1
    done
    die "the registry did not start: $(tail -n 1 "$HOME_FOLDER/log")"
}

stop() {
    local pid
    if pid=$(running_pid); then kill "$pid"; fi
    rm -f "$HOME_FOLDER/pid"
}

# An image of one layer: busybox, and a page that names the replica that served it.
push() {
    start
    local work root
    work=$(mktemp -d)
    trap 'rm -rf "$work"' RETURN
    umoci init --layout "$work/oci"
    umoci new --image "$work/oci:1"
    umoci unpack --rootless --image "$work/oci:1" "$work/bundle" >/dev/null
    root=$work/bundle/rootfs
    mkdir -p "$root"/{bin,tmp,www/cgi-bin}
    cp /bin/busybox "$root/bin/busybox"
    for applet in sh httpd hostname cat echo sleep true false; do ln -sf busybox "$root/bin/$applet"; done
    cat >"$root/www/cgi-bin/index.cgi" <<'CGI'
#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\nhello from %s\n' "$(hostname)"
CGI
    chmod 755 "$root/www/cgi-bin/index.cgi"
    umoci repack --image "$work/oci:1" "$work/bundle" >/dev/null
    umoci config --image "$work/oci:1" --config.env PATH=/bin --config.workingdir /www \
        --config.entrypoint /bin/httpd --config.entrypoint -f --config.entrypoint -p --config.entrypoint 8080 \
        --config.entrypoint -h --config.entrypoint /www
    skopeo --insecure-policy copy --quiet --dest-tls-verify=false "oci:$work/oci:1" "docker://127.0.0.1:$PORT/$IMAGE"
    say "127.0.0.1:$PORT/$IMAGE"
}

case "${1:-}" in
    start) start ;;
    stop) stop ;;
    push) push ;;
    program) registry_program ;;
    *) die "which action? \`${1:-}\` is none" "start, stop, push or program" ;;
esac
