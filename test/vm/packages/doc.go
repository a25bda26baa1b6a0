// Package packages tests what scripts/packages.sh makes of deploy/packages and deploy/systemd, as far as that needs no
// systemd that runs: the unit by systemd's own checks, the contents of both packages, that the same input gives the same
// bytes, and that the maintainer scripts do no harm in a folder where somebody only unpacks. What they do on a machine
// with systemd is in test/vm/docker/guest. It has no code of its own.
//
// Promise: the packages are made of stand-ins for the programs, so nothing has to be built first but nfpm, once.
//
// Concurrency: each test has folders of its own.
//
// Cost: ten seconds, half a minute more the first time, while nfpm is compiled.
//
// Needs: systemd-analyze, dpkg, rpm; root for the scripts, which run below another root.
package packages
