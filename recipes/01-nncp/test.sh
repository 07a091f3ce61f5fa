#!/usr/bin/env bash
# Two NNCP nodes with a diode between them: see README.md.
. "$(dirname "$0")/../common.sh"
need nncp-bundle nncp

# node NAME: a node with keys and a spool of its own.
node() { nncp-cfgnew -nocomments >"$1.keys"; }
value() { sed -n "s/^    $2: //p" "$1.keys" | head -n 1; }
# configure NAME PEER [EXEC]: its configuration, which knows the other one's public keys.
configure() {
  { printf '{\n  spool: %s\n  log: %s\n' "$WORK/$1.spool" "$WORK/$1.log"
    sed -n '/^  self: {/,/^  }/p' "$1.keys"
    printf '  neigh: {\n    self: {\n'
    for key in id exchpub signpub noisepub; do printf '      %s: %s\n' $key "$(value "$1" $key)"; done
    printf '    }\n    %s: {\n' "$2"
    for key in id exchpub signpub noisepub; do printf '      %s: %s\n' $key "$(value "$2" $key)"; done
    printf '      incoming: %s\n' "$WORK/$1.incoming"
    [ -z "${3:-}" ] || printf '      exec: {%s: ["/bin/sh", "-c", "cat >>%s"]}\n' "$3" "$WORK/$1.log-of-$3"
    printf '    }\n  }\n}\n'; } >"$1.hjson"
  mkdir -p "$1.spool" "$1.incoming"
}
node a; node b
configure a b; configure b a report
A=(-cfg a.hjson -quiet) B=(-cfg b.hjson -quiet)

mkdir files
for n in $(seq 20); do head -c $((n * 100)) /dev/urandom >"files/f$n"; nncp-file "${A[@]}" "files/f$n" b:; done
for n in 1 2 3; do echo "report $n" | nncp-exec "${A[@]}" b report; done
# packets SPOOL PEER: how many it has from or for that one.
packets() { find "$1" -maxdepth 1 -type f -regex '.*/[A-Z2-7]*' 2>/dev/null | wc -l; }
queued() { packets "$1.spool/$(value "$2" id)/tx"; }
[ "$(queued a b)" = 23 ] || fail "23 packets should wait"

# What NNCP does by itself on a line that damages: a packet is lost, and the status is 0.
nncp-bundle "${A[@]}" -tx b >bundle
# A byte of the first packet's content: most others of the archive fill it up, and cost nothing.
first=$(tar -tvRf bundle | sed -n 's/^block \([0-9]*\): -.*/\1/p' | head -1)
at=$(((first + 1) * 512 + 100))
{ head -c $at bundle; tail -c +$((at + 2)) bundle; } >one-byte-lost
mkdir -p other.spool
expect 0 nncp-bundle "${B[@]}" -spool other.spool -rx -check <one-byte-lost >/dev/null 2>&1
came=$(packets "other.spool/$(value a id)/rx")
[ "$came" -lt 23 ] || fail "a lost byte should have cost a packet"

# A byte that has changed: without -check the damaged packet has the good one's name, so the good one,
# sent again, is taken for known, for ever.
python3 - "a.spool/$(value b id)/tx" <<'PYTHON'
import os, sys
packet = max((e.path for e in os.scandir(sys.argv[1]) if e.is_file()), key=os.path.getsize)
content = bytearray(open("bundle", "rb").read())
content[content.index(open(packet, "rb").read()) + 1500] ^= 1
open("one-bit-flipped", "wb").write(content)
PYTHON
mkdir -p third.spool
for bundle in one-bit-flipped bundle; do
  expect 0 nncp-bundle "${B[@]}" -spool third.spool -rx <$bundle >/dev/null 2>&1
done
[ "$(packets "third.spool/$(value a id)/rx")" = 23 ] || fail "all 23 should be there by name"
expect 1 nncp-check -cfg b.hjson -spool third.spool -quiet >/dev/null 2>&1

# With diode between: the bundle comes whole, or not at all. Twice, as a careful operator would.
coupled line
listen there inbox --from "$RX" --count 2 --on-delivery "/bin/sh $HERE/toss {path}" --hook-folder "$WORK"
there=$process
for time in first second; do
  nncp-bundle "${A[@]}" -tx b | transmit - --name "a-{time}-$time.nncp"
done
heard $there
[ "$(ls b.incoming | wc -l)" = 20 ] || fail "20 files should have been tossed once: $(ls b.incoming | wc -l)"
for n in $(seq 20); do same "files/f$n" "b.incoming/f$n"; done
[ "$(sort b.log-of-report)" = "$(printf 'report %s\n' 1 2 3)" ] || fail "each report once, not: $(cat b.log-of-report)"

# The way back is not a link: the acknowledgements are carried by hand, as a bundle on a stick.
[ "$(queued a b)" = 23 ] || fail "nothing leaves the queue before it is acknowledged"
nncp-bundle "${B[@]}" -tx a | diode send -q - --name acks.nncp --to file:stick.cap --redundancy 50%
diode recv -q - --from file:stick.cap --once 2>recv.said | nncp-bundle "${A[@]}" -rx -check
nncp-toss "${A[@]}" -node b
[ "$(queued a b)" = 0 ] || fail "the acknowledgements should have emptied the queue: $(queued a b)"

# The other way of NNCP, folders: nncp-xfer writes packets into a drop folder, and takes them out of
# the inbox.
echo later >files/later
nncp-file "${A[@]}" files/later b:
mkdir xfer
coupled another
listen inbox2 in2 --from "$RX" --count 1
inbox2=$process
sed "s|^to = .*|to = \"$TX\"\nimpair = \"$IMPAIR\"|; s|/var/spool/diode/out|$WORK/xfer|" \
  "$HERE/sender.toml" >sender.toml
start sender diode run sender.toml --json
sender=$process
until_true 60 grep -q '"sending"' sender.said
nncp-xfer "${A[@]}" -mkdir -keep -tx -node b xfer
heard $inbox2
kill -TERM $sender
wait $sender || true
nncp-xfer "${B[@]}" -keep -rx in2
nncp-toss "${B[@]}" -seen
same files/later b.incoming/later
