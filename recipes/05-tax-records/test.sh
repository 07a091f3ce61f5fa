#!/usr/bin/env bash
# Tax records, delivered read-only into dated folders: see README.md.
. "$(dirname "$0")/../common.sh"
need pr coreutils
need column bsdextrautils

mkdir records archive
diode keygen taxpayer --comment 'taxpayer 7' >/dev/null
coupled line
sed "s|^to = .*|to = \"$TX\"\nimpair = \"$IMPAIR\"|" "$HERE/sender.toml" >sender.toml
sed "s|^from = .*|from = \"$RX\"|; s|/usr/local/bin/file-away|$HERE/file-away|; s|/srv/archive|$WORK/archive|" \
  "$HERE/receiver.toml" >receiver.toml
start there diode run receiver.toml --json
there=$process
until_true 60 grep -q '"listening"' there.said
start here diode run sender.toml --json
here=$process
drop() { printf '%s\n' "$2" >"records/.$1"; mv "records/.$1" "records/$1"; until_true 60 filed "$3"; }
filed() { [ "$(grep -c . archive/ledger-*.tsv 2>/dev/null)" = "$1" ]; }
drop 'january 2026.csv' one 1
drop february.csv two 2
until_true 60 test -e records/sent/february.csv
drop february.csv corrected 3
for process in $here $there; do kill -TERM $process; wait $process || true; done

day=archive/$(date -u +%Y/%m/%d)
[ "$(cat "$day/february.csv")" = two ] || fail "nothing may be written over"
[ "$(cat "$day/february.2.csv")" = corrected ] || fail "the correction has a name of its own: $(ls "$day")"
[ "$(stat -c %a "$day/january 2026.csv")" = 440 ] || fail "records are read-only"
for record in "$day"/*.csv; do
  mkdir -p one; cp "$record" one/; diode verify one --against "$record.mtree" -q || fail "$record"; rm -r one
done
"$HERE/print-ledger" archive "$(date -u +%Y)" >ledger.txt
grep -q 'taxpayer 7.*february.2.csv' ledger.txt || fail "$(cat ledger.txt)"
diode verify in -q || fail "what was delivered should be there as it came"
