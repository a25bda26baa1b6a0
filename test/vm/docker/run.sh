#!/bin/sh
# Installs the agent's package the way an administrator would, runs the test
# binary, and says on the console how it went (protocol:
# test/vm/machine/console.go). What does not succeed before the tests ends this
# script; without its end line the run has not passed.
set -eu
up() { cut -d' ' -f1 /proc/uptime; }
# Markers start on a line of their own, whatever a test printed last.
say() { printf '\nTALLYMAN-VM: %s\n' "$*"; }

export DEBIAN_FRONTEND=noninteractive
# Nothing of a mirror's lists, whose 60,000 packages take half a minute to read here, is needed.
apt-get install -y -qq --no-install-recommends -o Dir::State::Lists=/nonexistent /srv/first.deb

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
