#!/usr/bin/env bash
# Everything that CI runs, from fast to slow. Stops at the first stage that fails, and says how to run it alone.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source tools/env.sh

STAGES="fmt clippy unit doc interop fuzz second image vm"

about() {
    case "$1" in
        fmt) say "the code is formatted" ;;
        clippy) say "no lint speaks up" ;;
        unit) say "unit, property, simulation and conformance tests" ;;
        doc) say "the documentation builds, every link in it holds" ;;
        interop) say "programs that others wrote understand ours: an MCP client, a JSON Schema validator, Terraform and OpenTofu" ;;
        fuzz) say "whatever bytes a state of Terraform is, it is read or refused: a minute of them" ;;
        second) say "clouds that others wrote judge our calls: moto, gcplocal, prism with the clouds' own descriptions" ;;
        image) say "the agent links statically, the node image builds" ;;
        vm) say "the real kernel, booted VMs: the node image, the local provider, whole clusters (tests/e2e)" ;;
    esac
}

run_stage() {
    case "$1" in
        fmt) cargo fmt --all --check ;;
        clippy) cargo clippy --locked --workspace --all-targets --all-features -- -D warnings ;;
        unit)
            build_programs
            tests
            ;;
        # Private items are documented too, so links to them hold.
        doc) RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --workspace --no-deps --document-private-items --quiet ;;
        interop)
            build_programs
            interop_programs
            TERRAFORMS=$(tools/terraform.sh)
            export TERRAFORMS
            "$INTEROP/bin/python" -B -m unittest discover -s tests/interop
            tests --features isobar-terraform-compat/programs --test programs
            ;;
        fuzz) tools/fuzz.sh ;;
        second)
            build_programs
            second_programs
            tests --features "$SECOND_OPINIONS" --test second -- --test-threads=1
            ;;
        image) build_image ;;
        vm)
            build_programs
            build_image
            build_engine_image
            tests --features "$REAL_PARTS" --test image --test machines --test births --test booted --test engine_image --test bootstrapped --test interrupted --test kills --test workloads --test soak \
                -- --test-threads=1
            ;;
    esac
}

# Always the whole workspace, and what needs a VM behind features of our own alone: so nothing is built twice.
tests() { cargo test --locked --workspace "$@"; }
build_programs() { cargo build --locked --workspace --bins --tests; }
REAL_PARTS=isobar-node-image-image/debian,isobar-providers-local/vm,isobar-tests-cloudbox/vm,isobar-tests-e2e/vm
SECOND_OPINIONS=isobar-providers-aws/second-opinion,isobar-providers-azure/second-opinion,isobar-providers-gcp/second-opinion,isobar-tests-e2e/second-opinion

# Where the other programs are.
INTEROP=$ISOBAR_CACHE/interop

interop_programs() {
    local wanted=tests/interop/requirements.txt
    ! cmp -s "$wanted" "$INTEROP/requirements.txt" || return 0
    python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages interop
    step "installing into $INTEROP: $(grep -v '^#' "$wanted" | paste -sd ' ')"
    python3 -m venv --clear "$INTEROP"
    "$INTEROP/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
    cp "$wanted" "$INTEROP/requirements.txt"
}

second_programs() {
    local wanted=tests/clouds/programs into=$ISOBAR_CACHE/second document
    ! diff -rq "$wanted" "$into/wanted" >/dev/null 2>&1 || return 0
    need_packages interop second
    step "installing into $into: $(grep -hv '^#' "$wanted/requirements.txt" | paste -sd ' '), prism"
    rm -rf "$into" && mkdir -p "$into"
    python3 -m venv "$into/venv"
    "$into/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted/requirements.txt"
    cp "$wanted/package.json" "$wanted/swagger.js" "$into"
    document=$(find "$into/venv" -path '*/discovery_cache/documents/compute.v1.json')
    (
        cd "$into"
        npm install --no-audit --no-fund --silent
        node swagger.js "$document" compute.swagger.json
    )
    cp -r "$wanted" "$into/wanted"
}

case "${1:-}" in
    --list)
        for stage in $STAGES; do printf '%-8s %s\n' "$stage" "$(about "$stage")"; done
        exit
        ;;
    "") set -- $STAGES ;;
esac
for stage in "$@"; do
    [ -n "$(about "$stage")" ] || die "there is no stage \`$stage\`" "$STAGES"
done

need_packages build run demo test
# Unpacked where it is not installed: the package would start a server of its own.
PATH=$PATH:$(dirname "$(tools/registry.sh program)")
for stage in "$@"; do
    step "$stage: $(about "$stage")"
    started=$SECONDS
    # Not beside `||`: there bash goes on after a command that fails.
    set +e
    (
        set -e
        run_stage "$stage"
    )
    status=$?
    set -e
    [ "$status" = 0 ] || die "$stage failed" "run it alone: ./dev test $stage"
    say "$stage passed in $((SECONDS - started)) s"
done
