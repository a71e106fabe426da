#!/usr/bin/env bash
# Builds the demo blueprint as an image archive from Debian packages; no image registry is involved.
#
#   build.sh [options] OUT.tar
#     --busybox             a few MB around busybox-static, made in about a second (what the tests use)
#     --format F            oci (default) or docker-save
#     --gzip                gzip the layers (oci only)
#     --user U              default user of the image (default: root)
#     --tag NAME:TAG        a name inside the archive
#     --force               build even when OUT.tar is already what would be built
#
# The Debian variant needs root (debootstrap), debootstrap and a Debian mirror: the one that apt uses, or GS_DEBIAN_MIRROR.
# Downloaded packages are kept in build/demo-blueprint/, and OUT.tar is reused while nothing that went into it changed, so
# only the first run takes its ~40 s. The same packages give the same bytes. Exit codes: 0 done, 1 failed, 2 usage.
set -euo pipefail
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)
cache=${GS_BLUEPRINT_CACHE:-$repository/build/demo-blueprint}
suite=bookworm
# Enough to work in: a shell, an editor, a pager, Python, git, tools that look at processes, files and JSON.
packages=bash,bash-completion,ca-certificates,curl,file,git,jq,less,procps,python3,tree,unzip,vim-tiny,xz-utils
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

say() { printf 'blueprint: %s\n' "$1"; }
die() { printf 'blueprint: %s\n' "$1" >&2; exit "${2:-1}"; }
usage() { sed -n '2,14s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

variant=debian force=no out=''
pack_options=()
user=root
while [ $# -gt 0 ]; do
  case "$1" in
    --busybox) variant=busybox ;;
    --gzip) pack_options+=(--gzip-layers) ;;
    --force) force=yes ;;
    --format|--user|--tag)
      [ $# -ge 2 ] || die "$1 needs a value" 2
      if [ "$1" = --user ]; then user=$2; else pack_options+=("$1" "$2"); fi
      shift ;;
    -h|--help) usage; exit 0 ;;
    -*) usage >&2; die "unknown option '$1'" 2 ;;
    *) [ -z "$out" ] || die 'one output file only' 2; out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || { usage >&2; exit 2; }
mkdir -p "$(dirname "$out")" "$cache"
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")

# Everything that decides the bytes, in one key beside the archive.
inputs="$variant $suite $packages $user ${pack_options[*]-} $(uname -m) $(cat "$here/build.sh" "$here/pack_image.py" | sha256sum)"
[ "$variant" = debian ] || inputs+=" $(sha256sum /bin/busybox 2>/dev/null || true)"
key=$(printf '%s' "$inputs" | sha256sum | cut -d' ' -f1)
if [ "$force" = no ] && [ -f "$out" ] && [ "$(cat "$out.key" 2>/dev/null)" = "$key" ]; then
  say "$out is up to date ($(du -h "$out" | cut -f1))"
  exit 0
fi

work=$(mktemp -d "$cache/work.XXXXXX")
cleanup() {
  # debootstrap mounts proc inside the tree; a failed run may leave it, and removing through a mount is never right.
  local mount
  while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount" || true; done \
    < <(awk -v tree="$work/" 'index($2, tree) == 1 {print $2}' /proc/mounts | sort -r)
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
root=$work/root

pack() {
  say 'packing the archive'
  "$here/pack_image.py" --root "$root" --output "$out" --user "$user" "${pack_options[@]}" "$@" >"$work/image-id"
  printf '%s\n' "$key" >"$out.key"
  say "$out ($(du -h "$out" | cut -f1)), image id $(cat "$work/image-id")"
}

build_busybox() {
  local busybox=/bin/busybox applet
  [ -x "$busybox" ] || die "no $busybox: run deploy/install-deps.sh demo"
  # A dynamically linked busybox would start nothing in an image that has no C library.
  if ldd "$busybox" >/dev/null 2>&1; then die "$busybox is not the static one: run deploy/install-deps.sh demo"; fi
  mkdir -p "$root"/{bin,dev,etc,home,proc,root,run,sbin,sys,tmp,usr/bin,usr/sbin,var/tmp,work}
  chmod 1777 "$root/tmp" "$root/var/tmp"
  chmod 0700 "$root/root"
  cp "$busybox" "$root/bin/busybox"
  chmod 0755 "$root/bin/busybox"
  for applet in $("$busybox" --list-full); do
    [ "$applet" = bin/busybox ] || ln -sf /bin/busybox "$root/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\nuser:x:1000:\n' >"$root/etc/group"
  pack --env "PATH=$path" --working-dir / --cmd /bin/sh
}

# The mirror that apt is configured with is the one that can be reached from here.
mirror() {
  if [ -n "${GS_DEBIAN_MIRROR:-}" ]; then echo "$GS_DEBIAN_MIRROR"; return; fi
  # shellcheck disable=SC2016  # apt expands these, not the shell
  apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk -v suite="$suite" '$1 == suite && $2 ~ /debian\/?$/ {print $2; exit}'
}

strip_tree() {
  # Nothing of the machine that built it, nothing that changes from one run to the next, nothing that is only cache.
  rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/* "$root"/var/log/* "$root"/tmp/* "$root"/var/tmp/* "$root"/run/* \
    "$root"/usr/share/{man,info,locale,lintian,linda} "$root"/debootstrap
  rm -f "$root"/etc/machine-id "$root"/var/lib/dbus/machine-id "$root"/etc/{passwd-,group-,shadow-,gshadow-,subuid-,subgid-} \
    "$root"/var/lib/dpkg/*-old "$root"/etc/ssh/ssh_host_* "$root"/etc/ld.so.cache~
  find "$root/usr/share/doc" -mindepth 1 \( -type f -o -type l \) ! -name copyright -delete
  find "$root/usr/share/doc" -depth -mindepth 1 -type d -empty -delete
  find "$root" -xdev \( -type b -o -type c -o -type s -o -type p \) -delete
  mkdir -p "$root"/var/cache/apt/archives/partial "$root"/var/log/apt "$root"/workspace
  echo sandbox >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
  : >"$root/etc/resolv.conf"
  # "Day of the last password change" is the day of the build otherwise.
  sed -i -E 's/^([^:]*:[^:]*):[0-9]+:/\1:19723:/' "$root/etc/shadow"
  # vim-tiny is only called vi; people type vim.
  [ -e "$root/usr/bin/vim" ] || ln -s vi "$root/usr/bin/vim"
  printf '%s\n' 'PS1="\u@\h:\w\$ "' 'alias ll="ls -l"' >>"$root/root/.bashrc"
}

build_debian() {
  [ "$(id -u)" -eq 0 ] || die 'the Debian variant needs root (debootstrap); --busybox does not'
  command -v debootstrap >/dev/null || die 'no debootstrap: run deploy/install-deps.sh demo'
  local url started
  url=$(mirror)
  [ -n "$url" ] || die "apt knows no mirror of $suite: set GS_DEBIAN_MIRROR=http://…/debian"
  mkdir -p "$cache/debs" "$root"
  started=$(date +%s)
  say "debootstrap $suite from $url"
  if ! debootstrap --variant=minbase --cache-dir="$cache/debs" --include="$packages" "$suite" "$root" "$url" \
    >"$work/debootstrap.log" 2>&1 < /dev/null; then
    tail -n 15 "$work/debootstrap.log" >&2
    [ ! -s "$root/debootstrap/debootstrap.log" ] || tail -n 15 "$root/debootstrap/debootstrap.log" >&2
    die 'debootstrap failed (its last lines are above): is the mirror reachable, and the disk not mounted noexec or nodev?'
  fi &
  follow "$!"
  strip_tree
  pack --clamp-after "$started" --env "PATH=$path" --env LANG=C.UTF-8 --working-dir /workspace --cmd /bin/bash
}

# debootstrap is silent for long: say how far it is.
follow() {
  local child=$1 retrieved installed last=''
  while kill -0 "$child" 2>/dev/null; do
    read -r -t 2 <> <(:) || true
    retrieved=$(grep -c '^I: Validating' "$work/debootstrap.log" 2>/dev/null || true)
    installed=$(grep -cE '^I: (Extracting|Unpacking|Configuring)' "$work/debootstrap.log" 2>/dev/null || true)
    if [ "$retrieved/$installed" != "$last" ]; then
      last=$retrieved/$installed
      say "  $retrieved packages fetched and checked, $installed steps of unpacking and configuring done"
    fi
  done
  wait "$child" || exit 1
}

"build_$variant"
