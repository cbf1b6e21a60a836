#!/usr/bin/env bash
# One cluster over AWS, Azure, GCP and this computer. The clouds are strict ones of our own, on loopback; what they run
# really boots: a QEMU guest for each machine, with that cloud's metadata service. `./dev demo --clouds` builds first, then
# runs this. Leaves nothing behind, and ends with 1 if anything is not as it says.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source tools/demo-parts.sh

CLOUDBOX=$CARGO_TARGET_DIR/debug/isobar-cloudbox
SITES="rack aws azure gcp"
# Longest wait for the clouds to open, to answer, to end.
CLOUDS_MAX_S=30
CLOUDS=

stop_more() { [ -z "$CLOUDS" ] || kill "$CLOUDS" 2>/dev/null || true; }

# Starts the clouds. What an engine needs to find them goes to the environment, `sites` and `endpoints`.
open_clouds() {
    local told environment
    mkdir "$DATA/clouds"
    coproc BOX { exec "$CLOUDBOX" "$DATA/clouds"; }
    CLOUDS=$BOX_PID
    # Subshells do not inherit a coprocess's own descriptors.
    exec {from_clouds}<&"${BOX[0]}" {to_clouds}>&"${BOX[1]}"
    read -r -t "$CLOUDS_MAX_S" -u "$from_clouds" told || die "the clouds do not open"
    environment=$(jq -r '.environment | to_entries[] | "\(.key)=\(.value)"' <<<"$told")
    while read -r variable; do export "${variable?}"; done <<<"$environment"
    sites=$(jq -c '.sites' <<<"$told")
    endpoints=$(jq -r '.sites[].settings.endpoint' <<<"$told")
}

# What the clouds answer to a command.
ask() {
    local answer
    say "$*" >&"$to_clouds"
    read -r -t "$CLOUDS_MAX_S" -u "$from_clouds" answer || die "the clouds do not answer"
    say "$answer"
}

close_clouds() {
    kill -TERM "$CLOUDS"
    wait "$CLOUDS" || die "a cloud was called otherwise than it documents"
    CLOUDS=
}

# Runs a command where the specs are.
beside_specs() { (cd "$DATA" && run "$@"); }

# The spec: a machine on each site, so many spare ones on AWS or Azure, and a service of so many replicas.
spec() {
    local spare=$1 replicas=$2 site
    printf '%s\n' "cluster: shop" "sites:" "  rack: { provider: local, region: rack }"
    jq -r 'to_entries[] | "  \(.key): \(.value)"' <<<"$sites"
    say "pools:"
    for site in $SITES; do say "  $site: { sites: [$site], machines: { min: 1, max: 1 } }"; done
    say "  spare: { sites: [aws, azure], machines: { min: $spare, max: 2 } }"
    cat <<YAML
workloads:
  web:
    kind: { service: { replicas: $replicas } }
    image: 10.0.2.2:5000/shop/web:1
    resources: { cpu: 100m, memory: 64MiB }
    ports: { http: { container: 8080, publish: auto } }
    health: { probe: { http: { port: http, path: / } }, interval_seconds: 2, timeout_seconds: 2, failures: 3 }
    placement: { spread: [machine] }
YAML
}

# A line for each replica that serves: its name, its site, and where this computer reaches it. A cloud's machine has an
# address of loopback of its own; one of this computer is on loopback itself.
replicas() {
    jq -nr --argjson seen "$(isobar query replicas --output json)" --argjson real "$(ask machines)" '
        ($real.machines | map({ key: .machine, value: .host_address }) | from_entries) as $hosts
        | $seen.replicas[] | select(.replica.phase.healthy)
        | (.addresses.http / ":") as [$host, $port]
        | "\(.replica.id) \(.site) \($hosts[.replica.machine] // $host):\($port)"'
}

# Every replica must answer by its own name, on every site, and there must be so many.
all_serve() {
    local wanted=$1 id site address answer served=() on=()
    while read -r id site address; do
        answer=$(curl -fsS --max-time "$SERVE_MAX_S" "http://$address/") || die "$id on $site does not answer at $address"
        say "$id on $site answers: $answer"
        [ "$answer" = "hello from $id" ] || die "another replica answers at $address"
        served+=("$id") on+=("$site")
    done < <(replicas)
    [ ${#served[@]} = "$wanted" ] || die "${#served[@]} of $wanted replicas serve"
    say "$(printf '%s\n' "${on[@]}" | sort -u | wc -l) of $(wc -w <<<"$SITES") sites serve"
    [ "$(printf '%s\n' "${on[@]}" | sort -u | wc -l)" = 4 ] || die "a site does not serve"
}

# The machines that the clouds really have, one a line: the cloud, the engine's name, the process of its guest.
machines() { ask machines | jq -r '.machines[] | "\(.cloud) \(.machine) \(.pid // "-")"'; }

step "AWS, Azure and GCP on this computer: their interfaces, and a guest for each machine"
open_clouds
say "$endpoints"
step "a registry on loopback with the shop's image, built without a network"
tools/registry.sh push
step "the engine: credentials from its environment, and leave to send them to these clouds"
# shellcheck disable=SC2046
start_engine $(printf -- '--allow-endpoint %s ' $endpoints)

step "one spec over four sites: what it will do, what it will cost"
spec 0 4 >"$DATA/shop.yaml"
beside_specs plan shop.yaml
step "apply it: four machines boot, one on each site"
beside_specs apply shop.yaml --yes
run status
say ""
say "what the clouds really run:"
machines
all_serve 4

step "one machine more, on AWS or Azure; the cloud of the plan runs out of room before it is carried out"
spec 1 5 >"$DATA/more.yaml"
shown=$(beside_specs plan more.yaml 2>&1)
say "$shown"
plan=$(sed -n 's/^carry it out: isobar apply --plan //p' <<<"$shown")
wanted=$(sed -n 's/^.* buy machine spare-1 in \([a-z]*\):.*$/\1/p' <<<"$shown")
say ""
say "from here on there is no room on $wanted: $(ask dry "$wanted")"
run apply --plan "$plan" --yes
step "the engine went on elsewhere, and says what that costs"
isobar query events --cluster shop --output json | jq -r '.events[].what' | grep "^$wanted refused" ||
    die "no event says that $wanted refused"
run status
bought=$(machines | awk '$2 == "spare-1" { print $1 }')
[ -n "$bought" ] && [ "$bought" != "$wanted" ] || die "spare-1 is not elsewhere"
say ""
say "spare-1 was planned on $wanted and is on $bought"
all_serve 5

step "destroy everything"
run destroy shop --yes
run status
say ""
[ -z "$(machines)" ] || die "a cloud is not empty: $(machines)"
say "every cloud is empty"
no_vms
close_clouds
say "every call was as its cloud documents"
say ""
say "done in $SECONDS s"
