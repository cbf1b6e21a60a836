#!/usr/bin/env bash
# Builds what a benchmark measures, optimised, then runs it (tests/bench; docs/benchmarks.md says what the figures mean).
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source tools/env.sh

export ISOBAR=$CARGO_TARGET_DIR/release/isobar
export ISOBAR_NODE=$CARGO_TARGET_DIR/$AGENT_TARGET/node/isobar-node

case "${1:-}" in
    plan | terraform) need_packages build ;;
    containers)
        need_packages build bench
        build_agent
        ;;
    node)
        need_packages build run demo
        step "building the command"
        cargo build --locked --release -p isobar
        build_image
        tools/registry.sh push
        trap 'tools/registry.sh stop' EXIT
        ;;
    clouds)
        need_packages build
        step "building the command"
        cargo build --locked --release -p isobar
        ;;
    -h | --help | help | "") ;;
    *) die "there is no benchmark \`$1\`" "plan, containers, node, terraform or clouds" ;;
esac
step "measuring"
cargo run --quiet --locked --release -p isobar-tests-bench -- "$@"
