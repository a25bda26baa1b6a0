#!/bin/sh
# End the docker engine whose sockets are in $1 and whose data are in $3, and
# take back what it did to the host's network for its bridge $2. Run by
# daemon.go (stop) and by the watchdog of shared.go. Nothing may stop it halfway.
run=$1
bridge=$2
dir=$3

pid=$(cat "$run/docker.pid" 2>/dev/null || cat "$run/docker.pid.started" 2>/dev/null)

# A reused process id must not be hit; a zombie has no command line.
alive() {
  [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q dockerd
}

tries=0
alive && kill "$pid"
while alive && [ "$tries" -lt 200 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
alive && kill -9 "$pid"

# delete_rules TABLE PATTERN: deletes the rules that match.
delete_rules() {
  iptables -t "$1" -S 2>/dev/null | grep -E -e "$2" | sed -n 's/^-A /-D /p' | while read -r rule; do
    # The rule is a list of arguments, not one.
    # shellcheck disable=SC2086
    iptables -t "$1" $rule
  done
}

# Rules name the bridge. The chains belong to all engines, so they go only when
# no rule for any bridge is left in them.
if command -v iptables >/dev/null; then
  delete_rules filter "-[io] $bridge "
  delete_rules nat "-[io] $bridge "
  if ! iptables -S 2>/dev/null | grep -qE '^-A (FORWARD|DOCKER[^ ]*) .*-[io] .*-j (DOCKER|ACCEPT|DROP)'; then
    for table in filter nat; do
      delete_rules "$table" '-j DOCKER'
      chains=$(iptables -t "$table" -S 2>/dev/null | sed -n 's/^-N \(DOCKER.*\)/\1/p')
      for chain in $chains; do iptables -t "$table" -F "$chain"; done
      for chain in $chains; do iptables -t "$table" -X "$chain"; done
    done
    # The engine forbids forwarding when it is the one to enable it.
    [ -e "$run/forward.accept" ] && iptables -P FORWARD ACCEPT
  fi
fi
ip link delete "$bridge" 2>/dev/null

# Empty parents of its containers' cgroups; others' are not empty and stay.
rmdir /sys/fs/cgroup/docker /sys/fs/cgroup/*/docker 2>/dev/null

# Mounts are left here by an engine that was killed.
cut -d ' ' -f 5 /proc/self/mountinfo | sort -r | while read -r mount; do
  case $mount in "$run"/* | "$dir"/*) umount -l "$mount" ;; esac
done
rm -rf "$run"
