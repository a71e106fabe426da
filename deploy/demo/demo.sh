#!/usr/bin/env bash
# From a clean machine to a running sandbox: what `make demo` runs. `make down` takes it all back.
#
# Safe to repeat: what is there and well is used, what is missing is made, what was rebuilt is restarted (sandboxes
# outlive that). Environment, read on the first run and remembered until `make down`:
#   GS_DEMO_HTTP_PORT      8080   port of the HTTP API on 127.0.0.1
#   GS_DEMO_AGENT_PORT     8443   port that agents dial, on 127.0.0.1
#   GS_DEMO_DOCKER_SOCKET  /var/run/docker.sock
#   GS_JOBS                compile jobs; default: as many as processors and memory (2 GB each) allow
set -euo pipefail
umask 022
# shellcheck source=deploy/demo/lib.sh
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/lib.sh"

step_total=10
blueprint=debian
sandbox=demo
archive=$repository/build/demo-blueprint/debian.tar

check_ports() {
  local name port variable
  for name in 'server http_port GS_DEMO_HTTP_PORT' 'server agent_port GS_DEMO_AGENT_PORT'; do
    read -r name port variable <<<"$name"
    if port_taken "${!port}" && ! our_pid "$name" >/dev/null; then
      fail "port ${!port} is taken $(port_owner "${!port}")" \
        "The demo needs it for the control plane. Stop what listens there, or choose another port:" \
        "  $variable=$((${!port} + 10000)) make demo"
    fi
  done
}

remember_settings() {
  mkdir -p "$state"
  chmod 0700 "$state"
  printf 'http_port=%q\nagent_port=%q\ndocker_socket=%q\n' "$http_port" "$agent_port" "$docker_socket" >"$state/settings"
  mkdir -p "$run_dir"
  chmod 0700 "$run_dir"
}

install_packages() {
  step 'packages of the distribution'
  follow packages last_line "$repository/deploy/install-deps.sh" demo || { show_log packages; fail 'packages could not be installed'; }
  done_step "$(tail -n1 "$log/packages.log" | sed 's/^install-deps: //')"
}

compile_jobs() {
  local memory_jobs
  memory_jobs=$(awk '/MemTotal/ {print int($2 / 2000000)}' /proc/meminfo)
  [ "$memory_jobs" -ge 1 ] || memory_jobs=1
  local processors
  processors=$(nproc)
  printf '%s\n' "${GS_JOBS:-$((memory_jobs < processors ? memory_jobs : processors))}"
}

build_status() { # LOG
  local last
  last=$(grep -oE '^\[[0-9]+/[0-9]+\]' "$1" | tail -n1 | tr -d '[]')
  [ -n "$last" ] || return 0
  printf 'compiled %s of %s (%d %%)\n' "${last%/*}" "${last#*/}" $((100 * ${last%/*} / ${last#*/}))
}

compile() {
  cd "$repository" && cmake --preset release && NINJA_STATUS='[%f/%t] ' \
    cmake --build --preset release -j "$(compile_jobs)" --target gstacks-server gstacks-agent gstacks gstacks-guest
}

build_programs() {
  step 'release build of gstacks-server, gstacks-agent, gstacks and gstacks-guest'
  follow build build_status compile || { show_log build; fail "the build failed: $log/build.log has it all"; }
  done_step "$("$bin/gstacks-server" version 2>/dev/null | head -n1 || echo built)"
}

# Says who is to stop the engine later: nobody (it was there), systemd, or a process of ours.
start_engine() {
  step 'Docker engine'
  mkdir -p "$state/engine"
  if engine_answers; then
    # It answers only since the package was installed (that starts it): then the demo started it all the same.
    if [ "$engine_before" = no ] && [ ! -e "$state/engine/started-by" ] && systemd_runs; then echo systemd >"$state/engine/started-by"; fi
    if [ "$engine_before" = no ] && [ ! -e "$state/engine/started-by" ] && [ -s /run/docker.pid ]; then
      echo package >"$state/engine/started-by"
      printf '%s %s\n' "$(cat /run/docker.pid)" "$(start_time "$(cat /run/docker.pid)")" >"$state/run/dockerd.pid"
    fi
    done_step "engine $(docker_cli version --format '{{.Server.Version}}') answers on $docker_socket"
    return
  fi
  if systemd_runs && [ "$docker_socket" = /var/run/docker.sock ]; then
    echo systemd >"$state/engine/started-by"
    systemctl start docker || fail 'systemctl could not start docker' 'See: journalctl -u docker -n 50'
  else
    echo demo >"$state/engine/started-by"
    # Sandboxes have no network of the engine's, so ours leaves the machine's bridges and packet filter alone.
    start_process dockerd dockerd --host "unix://$docker_socket" --data-root "$state/engine/data" \
      --exec-root "$run_dir/engine" --pidfile "$run_dir/dockerd.pid" --bridge=none --iptables=false
  fi
  if ! wait_for 60 engine_answers; then
    show_log dockerd
    fail "the Docker engine does not answer on $docker_socket" 'It needs cgroups, overlayfs or vfs, and root: its log says which.'
  fi
  done_step "engine $(docker_cli version --format '{{.Server.Version}}') started"
}

build_blueprint() {
  step 'blueprint archive from Debian packages (debootstrap)'
  follow blueprint last_line "$repository/deploy/demo-blueprint/build.sh" --tag gstacks-demo:debian "$archive" ||
    { show_log blueprint; fail 'the blueprint archive could not be built'; }
  done_step "$(tail -n1 "$log/blueprint.log" | sed 's/^blueprint: //')"
}

server_ready() { curl -fsS --max-time 2 "http://127.0.0.1:$http_port/api/health"; }

# A process whose program file was replaced by a later build runs the old code: restart it.
running_and_current() { # NAME
  local pid
  pid=$(our_pid "$1") || return 1
  case "$(readlink "/proc/$pid/exe")" in *' (deleted)') note "$1 was rebuilt: restarting it"; stop_process "$1" 10; return 1 ;; esac
}

start_server() {
  step "control plane on http://127.0.0.1:$http_port"
  if [ ! -e "$state/server/server.db" ]; then
    "$bin/gstacks-server" init --data-dir "$state/server" --api-key-file "$state/api-key" >"$log/init.log" 2>&1 ||
      { show_log init; fail 'gstacks-server init failed'; }
    note 'made the database, the certificate authority, the first tenant and its admin'
  fi
  [ -s "$state/api-key" ] || fail "an earlier run was cut short: $state/server has no admin's key" 'Run make down, then make demo.'
  if ! running_and_current server; then
    start_process server "$bin/gstacks-server" serve --data-dir "$state/server" \
      --http "127.0.0.1:$http_port" --agent "127.0.0.1:$agent_port"
  fi
  if ! wait_for 30 server_ready; then show_log server; fail 'the control plane does not answer'; fi
  done_step "ready, process $(our_pid server)"
}

log_in() {
  step 'log the command line in'
  cat >"$state/gstacks" <<WRAPPER
#!/bin/sh
exec $(printf '%q' "$bin/gstacks") --config-file $(printf '%q' "$state/config.json") "\$@"
WRAPPER
  chmod 0755 "$state/gstacks"
  if ! cli whoami >/dev/null 2>&1; then
    cli auth login --base-url "http://127.0.0.1:$http_port" --api-key-file "$state/api-key" >"$log/login.log" 2>&1 ||
      { show_log login; fail 'auth login failed'; }
  fi
  cli whoami | sed 's/^/           | /'
  done_step
}

agent_connected() { [ "$(cli --output json host list | items_field state "$(host_id)")" = connected ]; }

start_agent() {
  step 'enroll this machine and start its agent'
  if [ -z "$(host_id)" ]; then
    rm -f "$state/token"
    cli token create --max-uses 1 --expires-in 600 --token-file "$state/token" >"$log/token.log" 2>&1 ||
      { show_log token; fail 'token create failed'; }
    "$bin/gstacks-agent" enroll --server "https://127.0.0.1:$agent_port" --token-file "$state/token" \
      --state-dir "$state/agent" --run-dir "$run_dir/agent" >"$log/enroll.log" 2>&1 ||
      { show_log enroll; show_log server; fail 'enrollment failed'; }
    rm -f "$state/token"
    note "enrolled as $(host_id) with a fresh single-use token"
  fi
  if ! running_and_current agent; then
    start_process agent "$bin/gstacks-agent" run --state-dir "$state/agent" --run-dir "$run_dir/agent" \
      --docker-socket "$docker_socket" --guest "$bin/gstacks-guest"
  fi
  if ! wait_for 30 agent_connected; then show_log agent; show_log server; fail 'the host did not connect'; fi
  cli host list | sed 's/^/           | /'
  done_step "connected, process $(our_pid agent)"
}

import_blueprint() {
  step "import the blueprint '$blueprint'"
  if [ -z "$(cli --output json blueprint list | items_field id "$blueprint")" ]; then
    follow import last_line cli blueprint create "$blueprint" --archive "$archive" || { show_log import; show_log server; fail 'blueprint create failed'; }
  else
    note 'is there from an earlier run'
  fi
  cli blueprint list | sed 's/^/           | /'
  # For make down: what the agent may have given to the engine, by the digest that names it there.
  cli --output json blueprint list | items_field digest | sed -n 's|^sha256:|gstacks.local/blueprint:|p' >"$state/images"
  done_step
}

create_sandbox() {
  step "sandbox '$sandbox' from it"
  local was
  was=$(sandbox_state)
  case "$was" in
    requested | placing | provisioning | starting | unknown)
      # The agent has just come back, or an earlier run was cut short: give it the time to say how things are.
      note "is '$was': waiting for it"
      wait_for 30 sandbox_running || true
      was=$(sandbox_state) ;;
  esac
  case "$was" in
    running) note 'runs since an earlier run' ;;
    stopped)
      note 'is stopped: starting it'
      cli sandbox start "$sandbox" >"$log/sandbox.log" 2>&1 || { show_log sandbox; fail 'sandbox start failed'; } ;;
    *)
      if [ -n "$was" ]; then
        note "is '$was' from an earlier run: replacing it"
        cli sandbox delete "$sandbox" --wait >"$log/sandbox.log" 2>&1 || { show_log sandbox; fail 'sandbox delete failed'; }
      fi
      cli sandbox create --name "$sandbox" --blueprint "$blueprint" --host-id "$(host_id)" --wait >"$log/sandbox.log" 2>&1 ||
        { show_log sandbox; show_log agent; fail 'sandbox create failed'; } ;;
  esac
  if ! wait_for 60 sandbox_running; then cli sandbox info "$sandbox" >&2 || true; show_log agent; fail 'the sandbox does not run'; fi
  cli sandbox list | sed 's/^/           | /'
  done_step
}
sandbox_state() { cli --output json sandbox list | items_field state "$sandbox" | head -n1; }
sandbox_running() { [ "$(sandbox_state)" = running ]; }

run_command() {
  step 'run a command in it'
  # shellcheck disable=SC2016  # the sandbox's shell expands this
  local code=0 command='echo "hello from $(hostname): $(. /etc/os-release; echo $PRETTY_NAME), $(python3 --version)"
echo "I am $(id -un), process 1 is $(cat /proc/1/comm), networks: $(ls /sys/class/net | xargs)"'
  printf '           $ build/demo/gstacks sandbox exec %s -- bash -c '\''…'\''\n' "$sandbox"
  printf '%s\n' "$command" | sed 's/^/           > /'
  cli sandbox exec "$sandbox" -- bash -c "$command" 2>&1 | sed 's/^/           | /' || code=${PIPESTATUS[0]}
  note "exit code $code"
  [ "$code" -eq 0 ] || fail 'the command in the sandbox failed'
  done_step
}

what_next() {
  local show=${repository/#$PWD\//}
  [ "$repository" != "$PWD" ] || show=.
  cat <<NEXT

[$(printf '%6s' "$(elapsed)")] Everything runs and keeps running. Type next:

  $show/build/demo/gstacks sandbox exec $sandbox -- bash -c 'ls -la / && python3 -c "print(6 * 7)"'
  $show/build/demo/gstacks sandbox create --name second --blueprint $blueprint --wait
  $show/build/demo/gstacks sandbox list
  $show/build/demo/gstacks host info --host-id $(host_id)
  $show/build/demo/gstacks --help
  tail -f $show/build/demo/log/agent.log

  build/demo/gstacks is the command line with this demo's login, --config-file build/demo/config.json.
  The HTTP API: curl -H "Authorization: Bearer \$(cat $show/build/demo/api-key)" http://127.0.0.1:$http_port/api/whoami
  make down stops and removes all of it.
NEXT
}

need_root 'the demo installs packages and drives the Docker engine'
take_lock
trap interrupted INT TERM HUP
log=$state/log
check_ports
engine_before=no
if engine_answers; then engine_before=yes; fi
remember_settings
mkdir -p "$log" "$state/run"
install_packages
build_programs
start_engine
build_blueprint
start_server
log_in
start_agent
import_blueprint
create_sandbox
run_command
what_next
