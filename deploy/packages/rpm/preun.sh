#!/bin/sh
#   $1 how many versions of the package will be left: 0 erase, 1 upgrade
command -v systemctl >/dev/null || exit 0

if [ "$1" -eq 0 ]; then
	systemctl --no-reload disable tallyman.service >/dev/null 2>&1 || :
	if [ -d /run/systemd/system ]; then
		systemctl stop tallyman.service || :
	fi
fi
