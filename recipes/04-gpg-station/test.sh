#!/usr/bin/env bash
# A signing station between two diodes: see README.md.
. "$(dirname "$0")/../common.sh"
need gpg gnupg

mkdir -m 700 station office
mkdir station/out
export GNUPGHOME=$WORK/station/gnupg; mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --passphrase '' --quick-generate-key 'Station <station@example.org>' ed25519 sign 2>/dev/null
gpg --armor --export >office/station.asc
printf '*.txt 1000\n' >station/policy

# Without a policy requests wait, and somebody is asked.
mv station/policy kept
printf 'evil \033[2J\n' >station/harmless; printf 'other\n' >station/other
(cd station && "$HERE/sign" harmless out && "$HERE/sign" other out) >waits.said
printf 'yes\nno\n' | (cd station && "$HERE/ask" out) >asked.said
grep -q 'evil ^\[\[2J' asked.said || fail "control characters should be shown: $(cat -v asked.said)"
[ "$(ls station/out)" = harmless.sig ] || fail "signed: $(ls station/out)"
[ -z "$(ls station/pending)" ] || fail "still waiting: $(ls station/pending)"
rm station/out/harmless.sig
mv kept station/policy

# Requests in.
coupled in
listen station station/in --from "$RX" --on-delivery "$HERE/sign {path} $WORK/station/out" --hook-folder station --count 3
station=$process
echo 'the release of today' >office/release.txt
head -c 2000 /dev/zero >office/large.txt
echo '#!/bin/sh' >office/program
(cd office && transmit release.txt large.txt program)
heard $station
grep -q 'refused: large.txt' station.said || fail "the policy allows 1000 bytes"
grep -q 'refused: program' station.said || fail "the policy allows texts"

# Signatures out, and nothing else: somebody has put the secret key beside them.
gpg --batch --pinentry-mode loopback --passphrase '' --export-secret-keys >station/out/secret.key
head -c 20000 /dev/urandom >station/out/hidden.sig
coupled out
listen office office/back --from "$RX" --count 1
office=$process
sed "s|^to = .*|to = \"$TX\"\nimpair = \"$IMPAIR\"|" "$HERE/station-out.toml" >station/station-out.toml
(cd station && exec diode run station-out.toml --json >"$WORK/out.said" 2>&1) &
out=$!
started+=("$out")
heard $office
until_true 60 grep -q '"skipped".*hidden.sig.*not allowed' out.said
until_true 60 grep -q '"skipped".*secret.key.*not allowed' out.said
until_true 60 test -e station/out/sent/release.txt.sig
kill -TERM $out
wait $out || true
[ "$(ls office/back)" = release.txt.sig ] || fail "came: $(ls office/back)"
[ -e station/out/secret.key ] || fail "the key should have stayed where it was"

# The far side verifies, with the public key only.
export GNUPGHOME=$WORK/office/gnupg; mkdir -m 700 "$GNUPGHOME"
gpg --batch --quiet --import office/station.asc
gpg --batch --quiet --verify office/back/release.txt.sig office/release.txt 2>verified.said || fail "$(cat verified.said)"
