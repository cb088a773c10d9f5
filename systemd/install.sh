#!/bin/sh
# Installs the built package on a Lustre client: systemd/install.sh [PREFIX]. Run it from a checkout after
# `npm ci && npm run build`, as root. PREFIX is /usr/local; DESTDIR is put before every path (for packagers).
set -eu

prefix=${1:-/usr/local}
root=$(cd "$(dirname "$0")/.." && pwd)
dest=${DESTDIR:-}
lib=$prefix/lib/lhsm-azblob

if ! [ -e "$root/dist/daemon/lhsm-azblobd.cjs" ] || ! [ -e "$root/dist/native-bindings/crc64.node" ] ||
  ! [ -e "$root/dist/native-bindings/calls.so" ] || ! [ -d "$root/node_modules" ]; then
  echo 'Not built yet. Run: npm ci && npm run build' >&2
  exit 1
fi

# The program, with what it needs at run time only.
rm -rf "$dest$lib.new"
mkdir -p "$dest$lib.new/dist" "$dest$prefix/bin" "$dest$prefix/share/doc/lhsm-azblob"
cp -R "$root/dist/daemon" "$root/dist/native-bindings" "$dest$lib.new/dist/"
cp -R "$root/node_modules" "$root/package.json" "$root/package-lock.json" "$dest$lib.new/"
(cd "$dest$lib.new" && npm prune --omit=dev --ignore-scripts --no-audit --no-fund --silent)
chmod 755 "$dest$lib.new/dist/daemon/lhsm-azblobd.cjs" "$dest$lib.new/dist/daemon/cli/main.js"
rm -rf "$dest$lib"
mv "$dest$lib.new" "$dest$lib"
ln -sf "$lib/dist/daemon/lhsm-azblobd.cjs" "$dest$prefix/bin/lhsm-azblobd"
ln -sf "$lib/dist/daemon/cli/main.js" "$dest$prefix/bin/lhsm-azblob"
cp -R "$root/docs" "$root/config" "$root/README.md" "$root/CHANGELOG.md" "$root/LICENSE" \
  "$dest$prefix/share/doc/lhsm-azblob/"

# The service.
mkdir -p "$dest/etc/systemd/system" "$dest/etc/sysusers.d" "$dest/etc/tmpfiles.d"
cp "$root/systemd/lhsm-azblobd@.service" "$dest/etc/systemd/system/"
cp "$root/systemd/lhsm-azblob.sysusers.conf" "$dest/etc/sysusers.d/lhsm-azblob.conf"
cp "$root/systemd/lhsm-azblob.tmpfiles.conf" "$dest/etc/tmpfiles.d/lhsm-azblob.conf"
if [ -z "$dest" ] && [ -d /run/systemd/system ]; then
  systemd-sysusers lhsm-azblob.conf
  systemd-tmpfiles --create lhsm-azblob.conf
  systemctl daemon-reload
fi
echo "Installed below $dest$prefix. Next: docs/operations.md, Configure." >&2
