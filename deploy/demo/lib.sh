# shellcheck shell=bash
# shellcheck disable=SC2034  # those who source this use the rest
#
# What demo.sh and down.sh share: where the demo's things are, how it speaks, and how it knows its own processes.
#
# Everything the demo creates lies in build/demo/ of this clone, except sockets (their paths must be short) in
# /run/gstacks-demo, and the containers and images in the Docker engine, which carry this demo's host id.
#
#   build/demo/
#     server/            data directory of the control plane: server.db, ca/, blobs/
#     agent/             state directory of the agent: agent.db, identity/, cache/
#     api-key            of the first admin, 0600
#     config.json        the command line's login, 0600
#     gstacks            the command line with that login: build/demo/gstacks sandbox list
#     images             image references that the agent gave to the engine
#     settings           ports and engine socket of the first run; later runs and `make down` follow it
#     engine/            only when the demo had to start a Docker engine: its data; `started-by` says how
#     run/NAME.pid       process id and start time, so that a reused process id is never taken for ours
#     log/NAME.log       what each process printed

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
state=$repository/build/demo
run_dir=/run/gstacks-demo
bin=$repository/build/release/bin
started_at=$SECONDS
step_number=0
step_total=0

http_port=${GS_DEMO_HTTP_PORT:-8080}
agent_port=${GS_DEMO_AGENT_PORT:-8443}
docker_socket=${GS_DEMO_DOCKER_SOCKET:-/var/run/docker.sock}
# shellcheck source=/dev/null
[ ! -f "$state/settings" ] || . "$state/settings"

elapsed() { local s=$((SECONDS - started_at)); printf '%d:%02d' $((s / 60)) $((s % 60)); }

step() {
  step_number=$((step_number + 1))
  step_started=$SECONDS
  printf '[%6s] %2d/%d %s\n' "$(elapsed)" "$step_number" "$step_total" "$1"
}
note() { printf '[%6s]       %s\n' "$(elapsed)" "$1"; }
done_step() { note "${1:-done} ($((SECONDS - step_started)) s)"; }
fail() {
  printf '\n[%6s] FAILED: %s\n' "$(elapsed)" "$1" >&2
  shift
  local line
  for line in "$@"; do printf '         %s\n' "$line" >&2; done
  exit 1
}
show_log() { # NAME
  [ -s "$state/log/$1.log" ] || return 0
  printf '         last lines of %s:\n' "$state/log/$1.log" >&2
  tail -n 15 "$state/log/$1.log" | sed 's/^/         | /' >&2
}

# Field 22 of /proc/PID/stat, counted after the name in parentheses, which may hold spaces.
start_time() { sed -E 's/^.*\) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# Prints the process id when the process that we started under this name still runs. A zombie does not run.
our_pid() { # NAME
  local pid started
  read -r pid started 2>/dev/null <"$state/run/$1.pid" || return 1
  [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] || return 1
  grep -q '^State:.*[ZX]' "/proc/$pid/status" 2>/dev/null && return 1
  printf '%s\n' "$pid"
}

start_process() { # NAME COMMAND...
  local name=$1
  shift
  mkdir -p "$state/run" "$state/log"
  # Its own session: ^C on the demo, or closing the terminal, does not reach it.
  setsid "$@" </dev/null >>"$state/log/$name.log" 2>&1 9>&- &
  printf '%s %s\n' "$!" "$(start_time "$!")" >"$state/run/$name.pid"
  disown
}

stop_process() { # NAME SECONDS; asks, waits, then kills
  local name=$1 deadline=$((SECONDS + $2)) pid
  if pid=$(our_pid "$name"); then
    kill -TERM "$pid" 2>/dev/null || true
    while our_pid "$name" >/dev/null; do
      if [ $SECONDS -ge $deadline ]; then
        note "$name (process $pid) did not stop in $2 s: killed"
        kill -KILL "$pid" 2>/dev/null || true
        deadline=$((SECONDS + $2))
      fi
      sleep 0.1
    done
  fi
  rm -f "$state/run/$name.pid"
}

wait_for() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.1
  done
}

# Runs a long command with its output in log/NAME.log and says how far it is: STATUS prints that, from the log.
# Returns the command's exit code. Its own process group, so that ^C takes the whole of it along.
follow() { # NAME STATUS COMMAND...
  local name=$1 status=$2 now last='' printed=$SECONDS interval=10 code=0
  shift 2
  # A terminal can have it livelier than a log file.
  [ ! -t 1 ] || interval=2
  set -m
  "$@" </dev/null >"$state/log/$name.log" 2>&1 9>&- &
  following=$!
  set +m
  while kill -0 "$following" 2>/dev/null; do
    sleep 0.2
    [ $((SECONDS - printed)) -ge $interval ] || continue
    now=$("$status" "$state/log/$name.log" || true)
    if [ -n "$now" ] && [ "$now" != "$last" ]; then note "$now"; last=$now; fi
    printed=$SECONDS
  done
  wait "$following" || code=$?
  following=''
  return $code
}
following=''
interrupted() {
  [ -z "$following" ] || kill -TERM -- "-$following" 2>/dev/null || true
  fail 'interrupted' 'What is there stays: make demo goes on from here, make down removes it.'
}
last_line() { tr '\r' '\n' <"$1" | grep -v '^[[:space:]]*$' | tail -n1 | cut -c1-150; }

# Who listens on this port, from the kernel's own tables: needs no tool.
port_taken() { # PORT
  local hex
  hex=$(printf '%04X' "$1")
  awk -v port=":$hex" 'FNR > 1 && $4 == "0A" && substr($2, length($2) - 4) == port {found = 1} END {exit !found}' \
    /proc/net/tcp /proc/net/tcp6 2>/dev/null
}
port_owner() { # PORT
  command -v ss >/dev/null || return 0
  ss -Hltnp "sport = :$1" 2>/dev/null | sed -nE 's/.*users:\(\("([^"]*)",pid=([0-9]+).*/by \1 (process \2)/p' | head -n1
}

docker_cli() { DOCKER_CONTEXT='' DOCKER_HOST="unix://$docker_socket" docker "$@"; }
engine_answers() {
  [ -S "$docker_socket" ] || return 1
  if command -v curl >/dev/null; then
    curl -fsS --max-time 5 --unix-socket "$docker_socket" http://engine/_ping
  else
    # Before the packages are there: a listening socket is all that can be seen. The socket's real path is listed.
    grep -qE "($docker_socket|$(readlink -f "$docker_socket"))\$" /proc/net/unix
  fi >/dev/null 2>&1
}
systemd_runs() { [ -d /run/systemd/system ]; }

host_id() { grep -ohE 'hst_[0-9a-z]{20}' "$state/agent/identity/host.json" 2>/dev/null | head -n1; }
cli() { "$bin/gstacks" --config-file "$state/config.json" "$@"; }

# Reads the JSON of a `gstacks … list` and prints one field of each item: items_field FIELD [NAME]
items_field() {
  python3 -c '
import json, sys
document = json.load(sys.stdin)
items = document["items"] if isinstance(document, dict) and "items" in document else document
for item in items if isinstance(items, list) else [items]:
    if len(sys.argv) < 3 or sys.argv[2] in (item.get("name"), item.get("id")):
        print(item.get(sys.argv[1], ""))' "$@"
}

# One at a time in a clone. Children do not inherit the lock (9>&- in start_process).
take_lock() {
  mkdir -p "$repository/build"
  exec 9>"$repository/build/.demo.lock"
  flock -n 9 || fail 'another make demo or make down is at work in this clone'
}
need_root() { # WHAT
  [ "$(id -u)" -eq 0 ] || fail "not root: $1" 'Run it as root.'
}
# Removing a tree must never follow a mount out of it.
unmount_below() { # DIR
  local mount
  while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount"; done \
    < <(awk -v tree="$1/" 'index($2, tree) == 1 {print $2}' /proc/mounts | sort -r)
}
