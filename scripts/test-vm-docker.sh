#!/usr/bin/env bash
# make test-vm-docker: the built agent as a systemd unit in an emulated machine
# with systemd, Docker and pure cgroup v2. See test/vm/docker/README.md.
#
# Installs the host's programs for it (Debian or Ubuntu, as root); elsewhere
# says what is missing and how to get it. Arguments go to test/vm/docker.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/env.sh

# Program and the Debian package that brings it. unshare, chroot and dpkg-deb
# are on every Debian.
readonly tools='
debootstrap         debootstrap
mke2fs              e2fsprogs
qemu-system-x86_64  qemu-system-x86
'

main() {
  # The administrator's programs are not in everybody's PATH, but count.
  export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
  local packages
  mapfile -t packages < <(missing_packages)
  if [[ ${#packages[@]} -gt 0 ]]; then
    provide "${packages[@]}"
  fi
  # Built, not run: a signal that ends "go run" would leave the machine behind.
  mkdir -p .cache
  go build -o .cache/vm-docker-runner ./test/vm/docker
  exec .cache/vm-docker-runner "$@"
}

# missing_packages prints one package per line.
missing_packages() {
  local program package
  while read -r program package; do
    if [[ -n $program ]] && ! command -v "$program" >/dev/null; then
      echo "$package"
    fi
  done <<<"$tools"
  if [[ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]]; then
    echo debian-archive-keyring
  fi
}

# provide installs packages, or ends the script with what to do.
provide() {
  echo "test-vm-docker: missing: $*"
  if ! command -v apt-get >/dev/null || [[ ! -e /etc/debian_version ]]; then
    echo "test-vm-docker: these are the names of Debian's packages; this system's package manager has the same programs" >&2
    exit 1
  elif [[ $(id -u) -ne 0 ]]; then
    echo "test-vm-docker: run as root: apt-get install --no-install-recommends $*" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || echo "test-vm-docker: apt-get update reports errors; trying with the lists at hand" >&2
  if ! apt-get install -y -qq --no-install-recommends "$@"; then
    echo "test-vm-docker: apt-get install did not work for: $*" >&2
    exit 1
  fi
}

main "$@"
