#!/bin/sh
# Builds the simulator into the directory given: build.sh OUT. Needs gcc and libfuse3's headers only.
# build.ts runs it under a lock; outputs are put in place by rename, so that one in use is never half written.
set -eu
src=$(cd "$(dirname "$0")" && pwd)
out=$1
mkdir -p "$out"
if [ -f "$out/stamp" ] && [ -z "$(find "$src" \( -name '*.[ch]' -o -name build.sh \) -newer "$out/stamp" -print -quit)" ]; then
  exit 0
fi
tmp=$(mktemp -d "$out/tmp.XXXXXX")
trap 'wait; rm -rf "$tmp"' EXIT
touch "$tmp/stamp"
flags="-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -g ${LUSTRE_SIM_CFLAGS:-}"
mkdir "$tmp/sim"
(
  cd "$tmp/sim"
  # shellcheck disable=SC2086
  gcc $flags -I/usr/include/fuse3 -c "$src"/sim/*.c
  # shellcheck disable=SC2086
  gcc $flags ./*.o -o "$tmp/lustre-sim" -lfuse3 -lpthread
) &
sim=$!
# shellcheck disable=SC2086
{
  gcc $flags -fPIC -shared -Wl,-soname,liblustreapi.so.1 "$src"/lib/*.c -o "$tmp/liblustreapi.so.1" -lpthread
  gcc $flags "$src/tools/lfs.c" -o "$tmp/lfs" -L"$tmp" -l:liblustreapi.so.1 -Wl,-rpath,'$ORIGIN'
  gcc $flags "$src/tools/lctl.c" -o "$tmp/lctl"
  gcc $flags "$src"/tools/simtool*.c -o "$tmp/simtool" -ldl -lpthread
}
wait $sim
for file in lustre-sim liblustreapi.so.1 lfs lctl simtool stamp; do
  mv -f "$tmp/$file" "$out/$file"
done
