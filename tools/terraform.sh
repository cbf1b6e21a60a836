#!/usr/bin/env bash
# Prints the paths of `terraform` and `tofu`, separated by `:`; whichever are installed, and OpenTofu built from its Go module
# where it is not. Fails where there is neither of them nor Go to build one.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source tools/env.sh

MODULE=github.com/opentofu/opentofu@v1.10.6
INTO=$ISOBAR_CACHE/tofu/${MODULE##*@}

# As its own module: others may not install it, because it replaces one of its dependencies.
build_tofu() {
    local at
    step "building ${MODULE%@*} ${MODULE##*@} into $INTO"
    mkdir -p "$INTO"
    export GOPATH=$INTO/path GOCACHE=$INTO/cache GOFLAGS=-modcacherw CGO_ENABLED=0
    at=$(cd "$INTO" && go mod download -json "$MODULE" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    [ -n "$at" ] || die "the module of OpenTofu was not downloaded"
    (cd "$at" && go build -o "$INTO/tofu.new" ./cmd/tofu)
    mv "$INTO/tofu.new" "$INTO/tofu"
    rm -rf "$GOPATH" "$GOCACHE"
}

tofu=$(command -v tofu || true)
if [ -z "$tofu" ] && command -v go >/dev/null; then
    [ -x "$INTO/tofu" ] || build_tofu >&2
    tofu=$INTO/tofu
fi
found=$(printf '%s\n' "$(command -v terraform || true)" "$tofu" | sed '/^$/d' | paste -sd :)
[ -n "$found" ] || die "there is neither terraform nor tofu, and no Go to build OpenTofu with" "install one of them, or Go 1.24"
printf '%s\n' "$found"
