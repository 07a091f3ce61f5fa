#!/usr/bin/env bash
# A git repository, mirrored by increments: see README.md.
. "$(dirname "$0")/../common.sh"
need git git
git config --global user.name tester
git config --global user.email tester@example.org
git config --global init.defaultBranch main
git init -q work
git init -q --bare mirror
commit() { head -c "$2" /dev/urandom | base64 >"work/$1"; git -C work add .; git -C work commit -qm "$1"; }
increment() { "$HERE/send-increment" work -q --to "file:$1.cap" "${SPARE[@]}" --impair "drop=5%,seed=$2"; }
receive() { diode recv inbox --from "file:$1.cap" --ordered --json --on-delivery "$HERE/fetch $WORK/mirror {path}" >"$1.said"; }

commit a 9000; increment first 1
commit b 100; git -C work tag v1; increment second 2
git -C work checkout -q -b side; commit c 100; increment third 3
[ "$(increment none 4)" = 'nothing new' ] || fail "there was nothing new"
[ "$(stat -c %s third.cap)" -lt "$(($(stat -c %s first.cap) / 3))" ] || fail "increments should be small"

# They come in the wrong order; the mirror gets them in the right one.
expect 0 receive first
expect 3 receive third
[ "$(git -C mirror branch --list side)" = '' ] || fail "the third waits for the second"
expect 0 receive second
[ "$(git -C mirror for-each-ref)" = "$(git -C work for-each-ref refs/heads refs/tags)" ] ||
  fail "$(git -C mirror for-each-ref)"
git -C mirror fsck --strict >fsck.said 2>&1

# And over a serial line.
commit d 5000
coupled line
listen there inbox --from "$RX" --ordered --once --on-delivery "$HERE/fetch $WORK/mirror {path}"
there=$process
"$HERE/send-increment" work -q --to "$TX" "${SPARE[@]}" --impair "$IMPAIR"
heard $there
[ "$(git -C mirror rev-parse side)" = "$(git -C work rev-parse side)" ] || fail "the last increment did not arrive"
