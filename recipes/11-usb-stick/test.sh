#!/usr/bin/env bash
# Sticks with sectors that cannot be read: see README.md.
. "$(dirname "$0")/../common.sh"

# holes CAPTURE SHARE SEED: every sector of 512 bytes is gone with that probability, and reads as
# zeros, as `ddrescue` and `dd conv=noerror,sync` leave it.
holes() {
  python3 - "$@" <<'PYTHON'
import random, sys
path, share, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
chance = random.Random(seed)
with open(path, "r+b") as stick:
    sectors = -(-stick.seek(0, 2) // 512)
    gone = [s for s in range(sectors) if chance.random() < share]
    for sector in gone:
        stick.seek(512 * sector)
        stick.write(bytes(512))
print(f"{len(gone)} of {sectors} sectors gone")
PYTHON
}
head -c 300000 /dev/urandom >archive

# A fifth of all sectors gone, at 50 % redundancy.
diode send -q archive --to file:stick.cap --redundancy 50% --symbol-size 64
holes stick.cap 0.2 1 >/dev/null
diode inspect stick.cap -q >inspect.said 2>&1 || fail "inspect: $(cat inspect.said)"
expect 0 diode recv inbox --from file:stick.cap -q >/dev/null
same archive inbox/archive

# More than that is too much, and both say by how much. What came is kept for a second stick.
diode send -q archive --name second --to file:bad.cap --redundancy 50% --passes 2 --symbol-size 64
size=$(stat -c %s bad.cap)
head -c $((size / 2)) bad.cap >stick1.cap
tail -c +$((size / 2 + 1)) bad.cap >stick2.cap
holes stick1.cap 0.4 2 >/dev/null
holes stick2.cap 0.4 3 >/dev/null
expect 3 diode inspect stick1.cap >inspect.said 2>&1
grep -qi 'second' inspect.said || fail "$(cat inspect.said)"
expect 3 diode recv inbox --from file:stick1.cap 2>first.said
grep -q 'second.*blocks\? short' first.said || fail "$(cat first.said)"
expect 0 diode recv inbox --from file:stick2.cap -q >/dev/null
same archive inbox/second
