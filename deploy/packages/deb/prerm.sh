#!/bin/sh
# Before an upgrade the agent runs on: postinst restarts it.
#   $1 remove, upgrade, deconfigure, failed-upgrade (deb-prerm(5))
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	deb-systemd-invoke stop tallyman.service >/dev/null || true
fi
