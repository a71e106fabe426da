#!/usr/bin/env bash
# Installs what building, the demo or the tests need, from the distribution's packages only.
#
#   deploy/install-deps.sh [build|demo|test]...     default: build
#   deploy/install-deps.sh --list [group]...        prints the packages, installs nothing
#
# Groups include one another: test > demo > build. Safe to repeat: asks dpkg first and calls apt only for what is
# missing, so a machine that has everything needs neither root nor a network.
# Exit codes: 0 all there, 1 could not install, 2 usage.
set -euo pipefail

# A compiler that runs coroutines correctly, and the libraries the programs link.
build_packages=(
  make git ca-certificates ccache cmake ninja-build pkg-config
  clang-19 lld-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev
  libarchive-dev libboost1.81-dev libcli11-dev libfmt-dev libgtest-dev libprotobuf-dev libsqlite3-dev libssl-dev
  libvalijson-dev libyaml-cpp-dev nlohmann-json3-dev protobuf-compiler
)
# The Docker engine, and what the demo blueprint is made with.
demo_packages=(docker.io busybox-static curl debootstrap iproute2 procps python3 util-linux)
# The black-box tests are Python; skopeo reads the archives we write, as a second opinion; shellcheck reads the scripts;
# faketime sets the clock of a single process.
test_packages=(
  faketime
  python3-cryptography python3-jsonschema python3-protobuf python3-pytest python3-requests python3-websocket
  python3-yaml nftables openssl shellcheck skopeo sqlite3 strace xz-utils
)

die() { printf 'install-deps: %s\n' "$1" >&2; exit "${2:-1}"; }

list_only=no
groups=()
for arg in "$@"; do
  case "$arg" in
    --list) list_only=yes ;;
    build|demo|test) groups+=("$arg") ;;
    -h|--help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown group '$arg': use build, demo or test" 2 ;;
  esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build)

wanted=()
for group in "${groups[@]}"; do
  case "$group" in
    build) wanted+=("${build_packages[@]}") ;;
    demo) wanted+=("${build_packages[@]}" "${demo_packages[@]}") ;;
    test) wanted+=("${build_packages[@]}" "${demo_packages[@]}" "${test_packages[@]}") ;;
  esac
done
mapfile -t wanted < <(printf '%s\n' "${wanted[@]}" | sort -u)

if [ "$list_only" = yes ]; then
  printf '%s\n' "${wanted[@]}"
  exit 0
fi

command -v dpkg-query >/dev/null || die "this needs Debian 12 (no dpkg here). --list prints the package names to look up elsewhere"

# dpkg-query prints one line for each package that it knows and fails on the others: both mean "not this one".
mapfile -t present < <(
  dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null | awk '$2 == "installed" {print $1}' | sort -u)
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}") <(printf '%s\n' "${present[@]}"))

if [ ${#missing[@]} -eq 0 ]; then
  echo "install-deps: all ${#wanted[@]} packages of '${groups[*]}' are installed"
  exit 0
fi

echo "install-deps: installing ${#missing[@]} of ${#wanted[@]} packages: ${missing[*]}"
if [ "$(id -u)" -ne 0 ]; then
  die "not root. Run this as root, or let an administrator run: apt-get install ${missing[*]}"
fi

export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
# Another apt (a fresh machine's unattended upgrade, say) may hold the lock for a while: wait instead of failing.
apt=(apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -q)

update_log=$(mktemp)
trap 'rm -f "$update_log"' EXIT
# apt-get update exits 0 even when a repository could not be reached; the log tells. One foreign repository that is down
# must not stop us, so this is only remembered and becomes the explanation if the installation fails.
"${apt[@]}" update >"$update_log" 2>&1 || true

unknown=()
for package in "${missing[@]}"; do
  # An empty candidate means that no configured repository has the package.
  candidate=$(apt-cache policy "$package" 2>/dev/null | awk '/Candidate:/ {print $2}')
  if [ -z "$candidate" ] || [ "$candidate" = "(none)" ]; then unknown+=("$package"); fi
done
if [ ${#unknown[@]} -gt 0 ]; then
  grep -E '^(Err|E|W):' "$update_log" >&2 || true
  if grep -qE '^(Err|E):|Could not resolve|Failed to fetch' "$update_log"; then
    die "the package lists could not be fetched (see above), so these are unknown: ${unknown[*]}. Check the network and /etc/apt/sources.list"
  fi
  die "no configured repository has: ${unknown[*]}. This needs Debian 12 (bookworm) with 'main' in /etc/apt/sources.list"
fi

if ! "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; then
  grep -E '^(Err|E|W):' "$update_log" >&2 || true
  die "apt-get could not install the packages (its own message is above). It is safe to run this again"
fi
echo "install-deps: installed ${#missing[@]} packages"
