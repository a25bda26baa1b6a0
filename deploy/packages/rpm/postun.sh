#!/bin/sh
# What was recorded stays in /var/lib/tallyman: rpm knows no purge.
#   $1 how many versions of the package are left: 0 erase, 1 upgrade
command -v systemctl >/dev/null || exit 0
[ -d /run/systemd/system ] || exit 0

systemctl daemon-reload || :
if [ "$1" -ge 1 ]; then
	# systemd keeps the DogStatsD socket meanwhile. Who has stopped the agent
	# does not get it back.
	systemctl try-restart tallyman.service || :
fi
