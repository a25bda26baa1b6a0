#!/bin/busybox sh
# First process of the guest: sets the machine up, runs each test binary named in /suite in its own folder, and says
# on the console how it went (protocol: test/vm/machine/console.go). Any command that does not succeed before the tests ends
# this script, which the kernel answers with a panic, which the driver reports.
set -euf
/bin/busybox --install -s /bin
export PATH=/sbin:/bin HOME=/root TMPDIR=/tmp TALLYMAN_VM=1 TALLYMAN_REQUIRE=1

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo "+cpu +io +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control

while read -r module; do insmod "/modules/$module"; done </modules/order

# The disk is an NVMe one because its driver is built in; a file system on it makes the IO of tests real.
mke2fs -q /dev/nvme0n1 >/dev/null
mount -t ext4 /dev/nvme0n1 /tmp
chmod 1777 /tmp
hostname tallyman-vm
ip link set lo up

up() { cut -d' ' -f1 /proc/uptime; }
# Markers start on a line of their own, whatever a test printed last.
say() { printf '\nTALLYMAN-VM: %s\n' "$*"; }

arguments=$(cat /arguments)
codes=""
count=0
while read -r package; do
	say begin "$package" "$(up)"
	code=0
	dmesg -c >/dev/null
	# shellcheck disable=SC2086 # several words; -f above keeps a pattern in them what it is
	(cd "/src/$package" && exec ./package.test $arguments) </dev/null || code=$?
	[ "$code" = 0 ] || { echo "kernel messages since $package began:"; dmesg | tail -n 30; }
	codes="$codes $package=$code"
	count=$((count + 1))
done </suite
say end "$(up) $count$codes"
sync
poweroff -f
