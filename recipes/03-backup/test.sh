#!/usr/bin/env bash
# Encrypted incremental backups over a diode, applied in order: see README.md.
. "$(dirname "$0")/../common.sh"
need gpg gnupg
need zstd zstd
need dar dar
need borg borgbackup
chmod 700 "$HOME"
export GNUPGHOME=$HOME/gnupg; mkdir -m 700 "$GNUPGHOME"
echo 'a long passphrase' >passphrase

mkdir src restored
increment() { "$HERE/backup" src | diode send -q - --name "host-$1@{time}.tar.zst.gpg" --abort-file failed "${@:2}"; }
head -c 60000 /dev/urandom >src/base; echo one >src/a; increment 0 --to file:0.cap "${SPARE[@]}" --impair "drop=5%,seed=1"
echo two >src/b; rm src/a; increment 1 --to file:1.cap "${SPARE[@]}"
echo three >src/c; increment 2 --to file:2.cap "${SPARE[@]}"

# The second one is missing: the third waits, and is told of by name.
apply() { diode recv inbox --from "file:$1" --ordered --json --on-delivery "$HERE/restore $WORK/restored {path}" >"$1.said"; }
cat 0.cap 2.cap >02.cap
expect 3 apply 02.cap
grep -q '"object_incomplete", "name": "host-2@.*"reason": "held"' 02.cap.said || fail "the third should be held"
grep -q '"event": "gap".*"first": 2, "last": 2' 02.cap.said || fail "the gap should be named"
[ "$(wc -l <applied)" = 1 ] || fail "only the first may be applied: $(cat applied)"
expect 0 apply 1.cap
[ "$(sed 's/@.*//' applied | paste -sd' ')" = "host-0 host-1 host-2" ] || fail "applied: $(cat applied)"
same src restored

# tar fails half-way: nothing is sent that looks like a backup.
mv src away
expect 1 increment 3 --to file:3.cap 2>failed.said
grep -q 'given up by its writer' failed.said || fail "$(cat failed.said)"
[ ! -s 3.cap ] || fail "nothing should have been sent"
mv away src

# Once through, without a spool: pieces, and their list as the end of the stream.
rm snapshot
"$HERE/backup" src | diode send -q - --no-spool --name whole --abort-file failed --to file:whole.cap \
  "${SPARE[@]}" --impair drop=5%,seed=1
expect 0 diode recv pieces --from file:whole.cap -q >/dev/null
expect 0 diode verify pieces/whole --against pieces/whole.mtree -q
cat pieces/whole/* >whole.tar.zst.gpg
mkdir from-pieces
"$HERE/restore" from-pieces whole.tar.zst.gpg
same src from-pieces

# Over a serial line that loses, other writers of streams: dar, and borg.
coupled line
listen there streams --from "$RX" --count 2
there=$process
dar -Q -c - -R src 2>/dev/null | transmit - --name 'src-{date}.1.dar'
export BORG_BASE_DIR=$HOME/borg BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
borg init -e none repo 2>/dev/null
(cd src && borg create ../repo::first .)
borg export-tar repo::first - | transmit - --name 'src-{date}.tar'
heard $there
mkdir from-dar from-borg
dar -Q -x "streams/src-$(date -u +%F)" -R from-dar -O >/dev/null 2>&1
tar xf streams/src-*.tar -C from-borg
same src from-dar
same src from-borg
