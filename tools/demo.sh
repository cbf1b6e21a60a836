#!/usr/bin/env bash
# The main job, on real parts: an engine, booted VMs, a registry; driven as a newcomer would, through the command line,
# which is an MCP client and nothing else. `./dev demo` builds first, then runs this. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
source tools/demo-parts.sh

# Longest wait for a lost VM to be replaced.
HEAL_MAX_S=300
WATCHER=

stop_more() { [ -z "$WATCHER" ] || kill "$WATCHER" 2>/dev/null || true; }

# Addresses of the replicas of the service that can be asked.
addresses() { isobar query replicas --output json | grep -o '"127\.0\.0\.1:[0-9]*"' | tr -d '"'; }

ask_a_replica() {
    local address
    for _ in $(seq $((SERVE_MAX_S * 2))); do
        for address in $(addresses); do
            if curl -fsS --max-time 5 "http://$address/" 2>/dev/null | sed "s|^|http://$address/ answers: |"; then
                return
            fi
        done
        sleep 0.5
    done
    die "no replica answers"
}

healthy() { isobar query replicas --output json | grep -c '"healthy": *true' || true; }

# Writes the fewest healthy replicas that it sees to a file, until killed.
watch_healthy() {
    local fewest=99 now
    while true; do
        now=$(healthy)
        if [ -n "$now" ] && [ "$now" -lt "$fewest" ]; then
            fewest=$now
            say "$fewest" >"$DATA/fewest"
        fi
    done
}

kill_a_vm() {
    local machine pid
    # The machine of the last replica: one of the service, since the job's sorts before it.
    machine=$(isobar query replicas --output json | grep -o '"machine": *"[^"]*"' | tail -n 1 | cut -d'"' -f4)
    for pid in $(vms); do
        if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- "-$machine-"; then
            say "kill -9 $pid   # the VM of $machine"
            kill -9 "$pid"
            return
        fi
    done
    die "the VM of $machine is not running"
}

wait_until_healed() {
    local since=$SECONDS
    # First it must be seen, then mended.
    until isobar query events --output json | grep -q '"lost: '; do
        [ $((SECONDS - since)) -lt "$HEAL_MAX_S" ] || die "the loss was not seen within $HEAL_MAX_S s"
        sleep 0.5
    done
    say "seen after $((SECONDS - since)) s"
    until isobar query cluster --output json | grep -q '"condition": *"converged"'; do
        [ $((SECONDS - since)) -lt "$HEAL_MAX_S" ] || die "not healed within $HEAL_MAX_S s"
        sleep 1
    done
    say "healed after $((SECONDS - since)) s"
}

step "a registry on loopback with the shop's image, built without a network"
tools/registry.sh push
step "the engine: MCP on loopback, SQLite in a data folder"
start_engine

step "the plan: what it will do, what it will cost; nothing is changed"
run plan examples/shop.yaml

step "apply it: two sites, three machines, a service of four, a job"
run apply examples/shop.yaml --yes
run status
run query machines
run query replicas
ask_a_replica
run logs migrate-1

step "move the service to the other site; healthy replicas are counted all the while"
watch_healthy &
WATCHER=$!
run move web --from north --to south --yes
kill "$WATCHER"
wait "$WATCHER" 2>/dev/null || true
WATCHER=
fewest=$(cat "$DATA/fewest")
say "fewest healthy replicas seen during the move: $fewest (the spec allows 3)"
[ "$fewest" -ge 3 ] || die "the move went below the allowed number"
run query replicas
ask_a_replica

step "kill a VM; nobody asks for help"
kill_a_vm
wait_until_healed
run status
ask_a_replica
run explain

step "destroy everything"
run destroy shop --yes
run status
no_vms
say ""
say "done in $SECONDS s"
