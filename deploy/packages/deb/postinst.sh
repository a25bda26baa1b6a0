#!/bin/sh
# Debian's habit: a service is enabled and runs once it is installed, unless the
# administrator has disabled or masked it, or policy-rc.d says otherwise. Who only
# unpacks (chroots, images) gets the links and nothing is started.
#   $1 configure, $2 the version before, "" at first (deb-postinst(5))
set -e
unit=tallyman.service

case "$1" in
configure | abort-upgrade | abort-deconfigure | abort-remove) ;;
*) exit 0 ;;
esac

deb-systemd-helper unmask "$unit" >/dev/null || true
if deb-systemd-helper --quiet was-enabled "$unit"; then
	deb-systemd-helper enable "$unit" >/dev/null || true
else
	deb-systemd-helper update-state "$unit" >/dev/null || true
fi
if [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload >/dev/null || true
	# A restart and not a stop and a start: systemd keeps the DogStatsD socket
	# meanwhile, so that nobody's metrics are lost.
	if [ -n "$2" ]; then
		deb-systemd-invoke restart "$unit" >/dev/null || true
	else
		deb-systemd-invoke start "$unit" >/dev/null || true
	fi
fi
