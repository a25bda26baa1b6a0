#!/usr/bin/env bash
# Install what the tests and `make generate` need and this machine lacks.
#
#   setup.sh          install it (Debian or Ubuntu, as root); elsewhere say what
#                     is missing and how to get it
#   setup.sh --check  only report; exit 1 if something is missing
#
# Safe to run again: with nothing missing it looks at PATH and does no more.
set -euo pipefail

# Program and the Debian package that brings it, in the order of installation.
# dockerd is asked for apart: an engine that already answers is as good.
readonly tools='
qemu-system-x86_64  qemu-system-x86
busybox             busybox-static
ip                  iproute2
iptables            iptables
nft                 nftables
conntrack           conntrack
clang               clang
llvm-strip          llvm
git                 git
make                make
update-ca-certificates ca-certificates
ps                  procps
docker-compose      docker-compose
haproxy             haproxy
prometheus          prometheus
gcc                 gcc
libc6-dev           libc6-dev
curl                curl
ctr                 containerd
runc                runc
podman              podman
rpm                 rpm
systemd-analyze     systemd
setpriv             util-linux
chromium            chromium
node                nodejs
'

main() {
  # The administrator's programs are not in everybody's PATH, but count.
  PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
  local packages
  mapfile -t packages < <(missing_packages)
  if [[ ${#packages[@]} -eq 0 ]]; then
    echo "setup: everything is here"
    return 0
  fi
  echo "setup: missing: ${packages[*]}"
  case ${1:-} in
  --check) return 1 ;;
  "") ;;
  *)
    echo "usage: ${0##*/} [--check]" >&2
    return 2
    ;;
  esac
  if ! has apt-get || [[ ! -e /etc/debian_version ]]; then
    advise "The names above are those of Debian's packages; this system's package manager has the same programs."
  elif [[ $(id -u) -ne 0 ]]; then
    advise "Run as root: apt-get install --no-install-recommends ${packages[*]}"
  else
    install_packages "${packages[@]}"
  fi
}

has() { command -v "$1" >/dev/null; }

# missing_packages prints one package per line.
missing_packages() {
  local program package
  while read -r program package; do
    if [[ -n $program ]] && ! has_program "$program"; then
      echo "$package"
    fi
  done <<<"$tools"
  if ! has dockerd && ! engine_answers; then
    echo docker.io
  fi
}

has_program() {
  case $1 in
  busybox)
    # The one inside a container's image must not need this host's libraries.
    has busybox && is_static "$(command -v busybox)"
    ;;
  llvm-strip)
    # Debian installs it under a versioned name too; either will do.
    has llvm-strip || compgen -G '/usr/lib/llvm-*/bin/llvm-strip' >/dev/null
    ;;
  libc6-dev)
    # No program: the headers that the race detector is compiled with.
    [[ -e /usr/include/stdlib.h ]]
    ;;
  *) has "$1" ;;
  esac
}

# A dynamic program names its loader.
is_static() { ! grep -qaE 'ld-linux[^ ]*\.so|ld-musl[^ ]*\.so' <(head -c 4096 "$1"); }

# engine_answers tells whether a Docker engine of this host serves its socket.
engine_answers() {
  local socket=${DOCKER_HOST:-unix:///var/run/docker.sock}
  socket=${socket#unix://}
  [[ -S $socket ]] || return 1
  has curl || return 0 # a socket is there; who serves it cannot be asked
  curl --silent --fail --max-time 2 --output /dev/null --unix-socket "$socket" http://docker/_ping
}

advise() {
  echo "setup: $1"
  echo "setup: without them the tests that need them are skipped, each saying why."
}

# install_packages installs one at a time where the whole lot does not work, so
# that a failure has a package's name.
install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  local failed=() package
  forbid_services
  apt-get update -qq || echo "setup: apt-get update reports errors; trying with the lists at hand" >&2
  if ! apt-get install -y -qq --no-install-recommends "$@"; then
    for package in "$@"; do
      apt-get install -y -qq --no-install-recommends "$package" || failed+=("$package")
    done
  fi
  if [[ ${#failed[@]} -gt 0 ]]; then
    echo "setup: apt-get install did not work for: ${failed[*]}" >&2
    return 1
  fi
  echo "setup: installed: $*"
}

# forbid_services keeps packages from starting their daemons while this script
# runs: a test machine wants the docker package, not a second engine at once. A
# policy the machine already has is the administrator's and stays.
forbid_services() {
  local policy=/usr/sbin/policy-rc.d
  if [[ -e $policy ]]; then
    return 0
  fi
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
}

main "$@"
