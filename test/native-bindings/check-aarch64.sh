#!/bin/sh
# Checks the CRC64 of aarch64 (PMULL) on another machine: crc64-harness.c, cross-compiled, under qemu. Also compiles the
# libraries, which cannot be loaded here. `npm run check:aarch64` calls it. Installs what it needs on Debian or Ubuntu
# when root, otherwise names the command.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
missing=''
command -v aarch64-linux-gnu-gcc >/dev/null 2>&1 || missing="$missing gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
command -v qemu-aarch64-static >/dev/null 2>&1 || missing="$missing qemu-user-static"
. "$root/test/apt-install.sh"
# shellcheck disable=SC2086 -- the words are meant to be several
[ -z "$missing" ] || apt_install $missing

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
headers=$(cd "$root" && node -p 'require("node-api-headers").include_dir' 2>/dev/null) ||
  headers=$(node -p 'path.join(process.execPath, "../../include/node")')
flags='-std=gnu11 -O2 -Wall -Wextra -Werror -pthread'
# shellcheck disable=SC2086
{
  aarch64-linux-gnu-gcc $flags -fPIC -shared -DNAPI_VERSION=8 -isystem "$headers" -o "$out/crc64.node" \
    "$root/native-bindings/crc64.c" "$root/native-bindings/crc64-core.c"
  aarch64-linux-gnu-gcc $flags -fPIC -shared -o "$out/calls.so" \
    "$root/native-bindings/call-sequence.c" "$root/native-bindings/call-threads.c"
  aarch64-linux-gnu-gcc $flags -static -o "$out/harness" \
    "$root/test/native-bindings/crc64-harness.c" "$root/native-bindings/crc64-core.c"
}
qemu-aarch64-static "$out/harness" pmull
