#!/bin/sh
# Sees to what the transfer bench compares with, from Debian or Ubuntu: rclone, and the library that AzCopy is linked
# with. Without them it still runs, and leaves the one or the other out. Quick and silent when all are there.
set -eu

missing=''
command -v rclone >/dev/null 2>&1 || missing="$missing rclone"
ls /usr/lib/*/libsecret-1.so.0 /usr/lib/libsecret-1.so.0 /usr/lib64/libsecret-1.so.0 2>/dev/null | grep -q . ||
  missing="$missing libsecret-1-0"
[ -n "$missing" ] || exit 0

. "${0%/*}/../apt-install.sh"
# shellcheck disable=SC2086 -- the words are meant to be several
apt_install $missing || echo 'The bench goes on without.' >&2
