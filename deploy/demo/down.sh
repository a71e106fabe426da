#!/usr/bin/env bash
# Takes back what the demo started and created: what `make down` runs. Safe to repeat, and after a demo cut short.
#
# Removes: the agent and the control plane, this host's sandboxes (containers that carry its host id), the images that the
# agent loaded for it, the Docker engine if the demo had to start it, and build/demo with every key and database in it.
# Keeps: installed packages, build/release, and the blueprint archive in build/demo-blueprint (`make clean` removes those).
set -euo pipefail
# shellcheck source=deploy/demo/lib.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib.sh"

step_total=4

stop_agent() {
  step 'stop the agent'
  # First, or it would bring back the containers that are removed next.
  if our_pid agent >/dev/null; then stop_process agent 10; done_step; else rm -f "$state/run/agent.pid"; done_step 'did not run'; fi
}

remember_images() {
  # Blueprints imported by hand since the demo ran count as well; the control plane knows them, if it is still up.
  our_pid server >/dev/null && [ -x "$bin/gstacks" ] || return 0
  timeout 20 "$bin/gstacks" --config-file "$state/config.json" --output json blueprint list 2>/dev/null |
    items_field digest 2>/dev/null | sed -n 's|^sha256:|gstacks.local/blueprint:|p' >>"$state/images" || true
}

remove_sandboxes() {
  step "remove this host's sandboxes and images from the Docker engine"
  local host started_by container image containers=0 images=0
  host=$(host_id)
  started_by=$(cat "$state/engine/started-by" 2>/dev/null || true)
  if [ -z "$host" ]; then done_step 'no host was enrolled'; return; fi
  if ! engine_answers; then
    if [ "$started_by" = demo ]; then done_step "the demo's own engine is down: its data goes with it"; return; fi
    fail "the Docker engine does not answer on $docker_socket, so the sandboxes of $host cannot be removed" \
      'Start it (systemctl start docker) and run make down again. Nothing else was removed yet.'
  fi
  while read -r container; do
    [ -n "$container" ] || continue
    docker_cli rm --force --volumes "$container" >/dev/null
    containers=$((containers + 1))
  done < <(docker_cli ps --all --quiet --filter label=gstacks.managed=1 --filter "label=gstacks.host=$host")
  while read -r image; do
    docker_cli image inspect "$image" >/dev/null 2>&1 || continue
    # Without force: an image that another agent's container uses stays, and that is right.
    if docker_cli rmi "$image" >/dev/null 2>&1; then images=$((images + 1)); else note "$image is in use by others: kept"; fi
  done < <(sort -u "$state/images" 2>/dev/null)
  done_step "removed $containers containers and $images images"
}

stop_server() {
  step 'stop the control plane'
  if our_pid server >/dev/null; then stop_process server 10; done_step; else rm -f "$state/run/server.pid"; done_step 'did not run'; fi
}

stop_engine() {
  step 'Docker engine and files'
  case "$(cat "$state/engine/started-by" 2>/dev/null || true)" in
    systemd) systemctl stop docker.service docker.socket; note 'stopped the Docker engine that the demo started' ;;
    demo | package) stop_process dockerd 30; note 'stopped the Docker engine that the demo started' ;;
    *) note 'the Docker engine was there before: it keeps running' ;;
  esac
  unmount_below "$state"
  unmount_below "$run_dir"
  rm -rf --one-file-system "$state" "$run_dir"
  done_step "removed $state and $run_dir"
}

if [ ! -e "$state" ] && [ ! -e "$run_dir" ]; then
  echo 'Nothing to take down: no demo was started from this clone.'
  exit 0
fi
if [ ! -e "$state" ]; then
  fail "$run_dir belongs to a demo of another clone" 'Run make down there.'
fi
need_root 'the demo ran as root'
take_lock
stop_agent
remember_images
remove_sandboxes
stop_server
stop_engine
echo "Down. Kept: packages, build/release, build/demo-blueprint. 'make clean' removes the build."
