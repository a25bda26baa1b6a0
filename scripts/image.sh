#!/usr/bin/env bash
# make image: tallyman:dev, from scratch: the static binaries, the configurations, the
# certificate authorities of this host, and the two folders that are written to. Equal
# inputs give equal bytes: names are sorted, times are the commit's.
#
#   TALLYMAN_BIN       where the two binaries are; bin by default
#   TALLYMAN_CA_FILE   certificate authorities in PEM, where this host has none at the usual places
set -euo pipefail
cd "$(dirname "$0")/.."
if ! docker version >/dev/null 2>&1; then
  echo "make image needs a Docker engine that answers (docker version)" >&2
  exit 1
fi
# The first that is there: Debian, Alpine; Fedora, RHEL; SUSE; OpenSSL's own place.
authorities=${TALLYMAN_CA_FILE:-}
for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem \
  /etc/ssl/ca-bundle.pem /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
  if [ -z "$authorities" ] && [ -s "$file" ]; then authorities=$file; fi
done
if ! grep -q -- '-----BEGIN CERTIFICATE-----' "${authorities:-/dev/null}"; then
  echo "make image: no certificate authorities in PEM${authorities:+ in $authorities}: install ca-certificates, or set TALLYMAN_CA_FILE" >&2
  exit 1
fi
binaries=${TALLYMAN_BIN:-bin}
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
root=$context/root
mkdir -p "$root"/{etc/tallyman,etc/ssl/certs,usr/share/doc/tallyman,var/lib/tallyman,run/tallyman}
cp "$binaries/tallyman" "$binaries/tallymanctl" "$root/"
cp otelcol-config.yaml deploy/otlp.yaml deploy/image/container.yaml "$root/etc/tallyman/"
cp deploy/docker-filter/config.yaml "$root/etc/tallyman/docker-filter.yaml"
cp "$authorities" "$root/etc/ssl/certs/ca-certificates.crt"
cp LICENSE "$root/usr/share/doc/tallyman/"

epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
archive() {
  tar -C "$root" -f "$context/root.tar" --format=gnu --sort=name --mtime="@$epoch" --numeric-owner --group=0 "$@"
}
archive -c --owner=0 --mode='u=rwX,go=rX' etc tallyman tallymanctl usr
# Both users that the image runs as may write: 65532 as the owner, root without
# CAP_DAC_OVERRIDE by its group. Senders of custom metrics pass through run/tallyman.
archive -r --owner=65532 --mode=0770 var/lib/tallyman
archive -r --owner=65532 --mode=0775 run/tallyman

cp deploy/Dockerfile "$context/"
version=$(sed -n 's/^  version: //p' builder-config.yaml)
rm -rf "$root" # not a part of the build's context
docker build -q -t tallyman:dev --label org.opencontainers.image.title=Tallyman \
  --label "org.opencontainers.image.version=$version" --label org.opencontainers.image.licenses=Apache-2.0 "$context"
docker image ls tallyman:dev
