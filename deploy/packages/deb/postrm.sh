#!/bin/sh
# What was recorded outlives `remove`, and goes with `purge`, like the files in
# /etc/tallyman, which are dpkg's.
#   $1 remove, purge, upgrade, ... (deb-postrm(5))
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload >/dev/null || true
fi
if [ "$1" = purge ]; then
	if command -v deb-systemd-helper >/dev/null; then
		deb-systemd-helper purge tallyman.service >/dev/null || true
		deb-systemd-helper unmask tallyman.service >/dev/null || true
	fi
	rm -rf /var/lib/tallyman /run/tallyman
fi
