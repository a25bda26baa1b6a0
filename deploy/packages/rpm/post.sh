#!/bin/sh
# An rpm's habit: whether the service is enabled is a matter of the
# distribution's presets, and nothing is started.
#   $1 how many versions of the package there will be: 1 first, 2 upgrade
command -v systemctl >/dev/null || exit 0

if [ "$1" -eq 1 ]; then
	systemctl --no-reload preset tallyman.service >/dev/null 2>&1 || :
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || :
fi
