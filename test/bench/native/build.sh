#!/bin/sh
# Builds the native programs of benches and tests into the directory given: build.sh OUT. Needs gcc and OpenSSL's headers.
# native.ts runs it under a lock; outputs are put in place by rename, so that one in use is never half written.
set -eu
src=$(cd "$(dirname "$0")" && pwd)
out=$1
mkdir -p "$out"
if [ -f "$out/stamp" ] && [ -z "$(find "$src" \( -name '*.[ch]' -o -name build.sh \) -newer "$out/stamp" -print -quit)" ]; then
  exit 0
fi
tmp=$(mktemp -d "$out/tmp.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
touch "$tmp/stamp"
(
  cd "$tmp"
  gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -g -c "$src"/*.c
  gcc blob-server.o session.o blob-requests.o container-requests.o blobs.o series.o uploads.o staging.o pattern.o crc64.o \
    conn.o http.o -o blob-server -lssl -lcrypto -lpthread
  gcc floor.o conn.o http.o -o floor -lssl -lcrypto -lpthread
  gcc pattern-file.o pattern.o -o pattern-file -lpthread
  gcc measure.o -o measure
  gcc stub-floor.o -o stub-floor -ldl -lpthread
)
for file in blob-server floor pattern-file measure stub-floor stamp; do
  mv -f "$tmp/$file" "$out/$file"
done
