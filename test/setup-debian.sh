#!/bin/sh
# Sees to the packages that tests and demo need from Debian or Ubuntu: libfuse3 for the simulated file system.
# Installs them when root, otherwise names the command. Quick and silent when all are there. `npm test` and
# `npm run demo` call it.
set -eu

missing=''
[ -e /usr/include/fuse3/fuse_lowlevel.h ] || [ -e /usr/local/include/fuse3/fuse_lowlevel.h ] ||
  missing="$missing libfuse3-dev"
command -v fusermount3 >/dev/null 2>&1 || missing="$missing fuse3"
command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
[ -n "$missing" ] || exit 0

command="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "Missing:$missing. Run as root: $command" >&2
  echo '(on another system than Debian or Ubuntu: the packages with fuse3/fuse_lowlevel.h and fusermount3)' >&2
  exit 1
fi

export DEBIAN_FRONTEND=noninteractive
echo "Installing$missing" >&2
# The package lists may be old or absent: fetch them only when the first try needs it.
# shellcheck disable=SC2086 -- the words are meant to be several
$command >/dev/null 2>&1 || {
  apt-get update -q >&2
  $command -q >&2
}
