#!/bin/sh
# The published way to prefetch a tree, written anew: a request for each file, by lfs, and after each batch of them a wait for
# its last file. `restore-script.sh LFS DIRECTORY BATCH`; restore.ts runs it beside batch restore.
set -eu
lfs=$1 directory=$2 batch=$3
asked=0 total=0 last=

wait_for_last() {
	while "$lfs" hsm_state "$last" | grep -q released; do sleep 0.2; done
	echo "$total restored"
}

list=$(mktemp)
trap 'rm -f "$list"' EXIT
find "$directory" -type f >"$list"
while IFS= read -r file; do
	last=$file
	"$lfs" hsm_restore "$last"
	asked=$((asked + 1)) total=$((total + 1))
	if [ "$asked" -ge "$batch" ]; then
		wait_for_last
		asked=0
	fi
done <"$list"
[ "$asked" -eq 0 ] || wait_for_last
