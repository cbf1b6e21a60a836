#!/usr/bin/env bash
# Engines, their hosts and their database die at random while clusters come and go. Prints, last, what was done to them and
# what was left behind or doubled.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source tools/env.sh

minutes=3
while [ $# -gt 0 ]; do
    case "$1" in
        --minutes) minutes=${2:?--minutes N} && shift 2 ;;
        --seed) export ISOBAR_TEST_SEED=${2:?--seed N} && shift 2 ;;
        *) die "unknown option \`$1\`" "./dev soak [--minutes N] [--seed N]" ;;
    esac
done
need_packages build run test
cargo build --locked --workspace --bins --tests
build_image
report=$(mktemp)
trap 'rm -f "$report"' EXIT
ISOBAR_SOAK_MINUTES=$minutes cargo test --locked --workspace --features isobar-tests-e2e/vm --test soak -- --nocapture 2>&1 | tee "$report"
grep '^{"applies"' "$report" | tail -1
