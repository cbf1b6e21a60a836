# Sourced by ./dev and the scripts beside this: where things are, what must be installed, how the parts are built.
# Changes nothing when sourced.

export ISOBAR_CACHE=${ISOBAR_CACHE:-$HOME/.cache/isobar}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ISOBAR_CACHE/target}
# Read by the command and by the tests: the folders of the node image and of the engine image, and the command itself.
export ISOBAR_IMAGE=${ISOBAR_IMAGE:-$ISOBAR_CACHE/image}
export ISOBAR_ENGINE_IMAGE=${ISOBAR_ENGINE_IMAGE:-$ISOBAR_CACHE/engine-image}
export ISOBAR=$CARGO_TARGET_DIR/debug/isobar
AGENT_TARGET=x86_64-unknown-linux-gnu

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
die() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '  hint: %s\n' "$2" >&2
    exit 1
}

# Debian packages by purpose; `program:package` where a program of another origin serves as well.
packages_for() {
    case "$1" in
        build) say cc:gcc strip:binutils e2fsprogs make:make pkg-config:pkg-config libc6-dev libseccomp-dev libelf-dev zlib1g-dev ca-certificates ;;
        run) say qemu-system-x86_64:qemu-system-x86 ;;
        demo) say curl:curl jq:jq umoci:umoci skopeo:skopeo busybox-static ;;
        test) say cpio:cpio ps:procps ip:iproute2 postgresql redis-server:redis-server ;;
        interop) say python3:python3 python3-venv ;;
        fuzz) say c++:g++ zstd:zstd ;;
        second) say node:nodejs npm:npm ;;
        bench) say runc:runc crun:crun busybox-static ;;
        *) die "no packages are known for \`$1\`" ;;
    esac
}

# Installs the packages for each purpose that are not there yet.
need_packages() {
    local purpose entry missing=()
    for purpose in "$@"; do
        for entry in $(packages_for "$purpose"); do
            case "$entry" in
                *:*) command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}") ;;
                *) is_installed "$entry" || missing+=("$entry") ;;
            esac
        done
    done
    command -v cargo >/dev/null || die "cargo is not installed" "https://rustup.rs installs a Rust toolchain"
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "these Debian packages, or what they hold, are missing: ${missing[*]}" \
        "this is not a Debian system: install their like yourself"
    step "installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root: $*" "run it as root, then start again"
    fi
}

# Further programs to build with it are arguments: `--bin NAME`.
build_command() {
    step "building the command"
    cargo build --locked --workspace --bin isobar "$@"
}

# With the whole workspace's features, like the tests: so nothing is built twice.
build_simulator() {
    step "building the simulator"
    cargo build --locked --workspace --bin isobar-sim
}

# The agent is linked statically: it is the only program in the image.
build_agent() {
    step "building the agent"
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile node --target "$AGENT_TARGET" \
        -p isobar-node-image-agent --bin isobar-node
}

build_image() {
    build_agent
    step "building the node image"
    pack_image --out "$ISOBAR_IMAGE"
}

# What machines boot that engines are bootstrapped on: the command that was built last is in it, without what only a debugger
# reads.
build_engine_image() {
    local command=$CARGO_TARGET_DIR/debug/isobar
    build_agent
    step "building the engine image"
    strip -o "$command-stripped" "$command"
    pack_image --engine "$command-stripped" --out "$ISOBAR_ENGINE_IMAGE"
}

pack_image() {
    cargo run --quiet --locked -p isobar-node-image-image -- build \
        --agent "$CARGO_TARGET_DIR/$AGENT_TARGET/node/isobar-node" --cache "$ISOBAR_CACHE/kernel" "$@"
}
