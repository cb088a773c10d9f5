#!/bin/sh
# Sees to the packages that tests and demo need from Debian or Ubuntu: libfuse3 for the simulated file system, OpenSSL's
# headers for the native blob server, libsecret for AzCopy. Installs them when root, otherwise names the command. Quick and silent when all are
# there. `npm test`, `npm run demo` and `npm run bench` call it.
set -eu

missing=''
[ -e /usr/include/fuse3/fuse_lowlevel.h ] || [ -e /usr/local/include/fuse3/fuse_lowlevel.h ] ||
  missing="$missing libfuse3-dev"
command -v fusermount3 >/dev/null 2>&1 || missing="$missing fuse3"
[ -e /usr/include/openssl/ssl.h ] || [ -e /usr/local/include/openssl/ssl.h ] || missing="$missing libssl-dev"
# AzCopy, which the import's tests run where npm has it, is linked with it.
[ "$(uname -m)" != x86_64 ] ||
  ls /usr/lib/*/libsecret-1.so.0 /usr/lib/libsecret-1.so.0 /usr/lib64/libsecret-1.so.0 2>/dev/null | grep -q . ||
  missing="$missing libsecret-1-0"
command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
[ -n "$missing" ] || exit 0

. "${0%/*}/apt-install.sh"
# shellcheck disable=SC2086 -- the words are meant to be several
apt_install $missing || {
  status=$?
  echo '(on another system than Debian or Ubuntu: what has fuse3/fuse_lowlevel.h, fusermount3, openssl/ssl.h)' >&2
  exit $status
}
