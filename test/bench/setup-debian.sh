#!/bin/sh
# Sees to what the transfer bench compares with, from Debian or Ubuntu: rclone. Without it the bench still runs, and leaves
# it out. Quick and silent when it is there.
set -eu

missing=''
command -v rclone >/dev/null 2>&1 || missing="$missing rclone"
[ -n "$missing" ] || exit 0

. "${0%/*}/../apt-install.sh"
# shellcheck disable=SC2086 -- the words are meant to be several
apt_install $missing || echo 'The bench goes on without.' >&2
