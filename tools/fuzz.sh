#!/usr/bin/env bash
# Gives the reader of Terraform's states any bytes for a minute, starting from the archive of states, and fails when it
# panics, is slow or takes too much memory. The bytes that did it stay in $ISOBAR_CACHE/fuzz.
#
# What `cargo fuzz` does, with the stable compiler: the coverage is LLVM's own pass, the chooser of bytes is built from C++.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source tools/env.sh

SECONDS_MAX=${1:-60}
INPUT_MAX_BYTES=65536
INPUT_MAX_SECONDS=10
MEMORY_MAX_MIB=1024
ONE_ALLOCATION_MAX_MIB=256
SEED=1

FOLDER=$ISOBAR_CACHE/fuzz
TARGET=x86_64-unknown-linux-gnu

need_packages build fuzz
mkdir -p "$FOLDER/found" "$FOLDER/corpus" "$FOLDER/states"
tar --zstd -xf terraform-compat/tests/states.tar.zst -C "$FOLDER/states"
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# With a target, so that programs of the build itself are built as ever.
RUSTFLAGS="$coverage -Ccodegen-units=1 --cfg fuzzing" cargo build --locked --release --target "$TARGET" \
    --manifest-path terraform-compat/fuzz/Cargo.toml --target-dir "$CARGO_TARGET_DIR/fuzz"
exec "$CARGO_TARGET_DIR/fuzz/$TARGET/release/any_bytes" -max_total_time="$SECONDS_MAX" -max_len="$INPUT_MAX_BYTES" \
    -timeout="$INPUT_MAX_SECONDS" -rss_limit_mb="$MEMORY_MAX_MIB" -malloc_limit_mb="$ONE_ALLOCATION_MAX_MIB" -seed="$SEED" \
    -print_final_stats=1 -verbosity=0 -artifact_prefix="$FOLDER/found/" "$FOLDER/corpus" "$FOLDER/states" terraform-compat/fuzz/seeds
