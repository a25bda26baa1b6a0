#!/bin/sh
# Installs the agent as a systemd unit the way an administrator would, runs the
# test binary, and says on the console how it went (protocol:
# test/vm/machine/console.go). What does not succeed before the tests ends this
# script; without its end line the run has not passed.
set -eu
up() { cut -d' ' -f1 /proc/uptime; }
# Markers start on a line of their own, whatever a test printed last.
say() { printf '\nTALLYMAN-VM: %s\n' "$*"; }

install -m 755 /srv/tallyman /usr/bin/tallyman
install -D -m 644 /srv/config.yaml /etc/tallyman/config.yaml
install -m 644 /srv/tallyman.service /etc/systemd/system/tallyman.service
systemctl daemon-reload
systemctl enable --quiet --now tallyman.service

package=$(cat /srv/package)
timeout=$(cat /srv/timeout)
run=$(cat /srv/run)
export HOME=/root TALLYMAN_VM=1 TALLYMAN_REQUIRE=1
say begin "$package" "$(up)"
code=0
# Parallel tests wait for the agent, not for the one processor, which is the default number of them.
/srv/package.test -test.v -test.run="$run" -test.parallel=8 -test.timeout="$timeout" </dev/null || code=$?
if [ "$code" != 0 ]; then
	for unit in tallyman docker containerd; do
		echo "end of the journal of $unit:"
		journalctl --no-pager --output=short-monotonic --lines=20 --unit="$unit"
	done
	echo "end of the kernel's messages:"
	dmesg | tail -n 30
fi
say end "$(up) 1 $package=$code"
