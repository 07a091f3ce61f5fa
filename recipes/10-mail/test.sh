#!/usr/bin/env bash
# Mail over a diode, from a mail program into a Maildir: see README.md.
. "$(dirname "$0")/../common.sh"
need s-nail s-nail

mkdir outbox
export DIODE_OUTBOX=$WORK/outbox
coupled line
listen there in --from "$RX" --count 3 --on-delivery "$HERE/into-maildir $WORK/Maildir {path}"
there=$process
sed "s|^to = .*|to = \"$TX\"\nimpair = \"$IMPAIR\"|" "$HERE/sender.toml" >sender.toml
start here diode run sender.toml --json
here=$process
for n in 1 2 3; do
  printf 'message %s\n.a line with a dot\n..two dots\n.\nthe end\n' $n |
    s-nail -:/ -S mta="$HERE/spool" -S v15-compat -S ttycharset=utf-8 -s "Größe $n" "reader$n@example.org"
done
heard $there
kill -TERM $here
wait $here || true
[ "$(find Maildir/new -type f | wc -l)" = 3 ] || fail "in the Maildir: $(ls Maildir/new)"
for n in 1 2 3; do
  found=$(grep -l "^message $n$" Maildir/new/*)
  [ "$(sed '1,/^$/d' "$found")" = "$(printf 'message %s\n.a line with a dot\n..two dots\n.\nthe end' $n)" ] || fail "$(cat "$found")"
done
s-nail -:/ -S v15-compat -R -H -f Maildir >headers 2>&1 || true
[ "$(grep -c 'Größe' headers)" = 3 ] || fail "$(cat headers)"
