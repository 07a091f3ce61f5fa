#!/usr/bin/env bash
# A tree, and other programs that check it at the far side: see README.md.
. "$(dirname "$0")/../common.sh"
need mtree mtree-netbsd
need bsdtar libarchive-tools

mkdir -p tree/sub/empty
echo x >'tree/with space'
echo x >tree/-rf
printf x >$'tree/new\nline'
echo x >tree/größe
echo x >"tree/$(printf 'x%.0s' $(seq 200))"
head -c 40000 /dev/urandom >tree/sub/data
coupled line
listen there inbox --from "$RX" --names exact --mode 0640 --count 8
there=$process
transmit tree --manifest
heard $there
same tree inbox/tree

check() { mtree -p inbox/tree -f inbox/tree.mtree; }
expect 0 check >mtree.said
expect 0 diode verify inbox/tree --against inbox/tree.mtree -q
(cd inbox/tree && diode manifest . --format sha256 >"$WORK/sums" && sha256sum --quiet -c "$WORK/sums")
(cd inbox/tree && bsdtar -cf "$WORK/packed.tar" @../tree.mtree)
mkdir unpacked
tar xf packed.tar -C unpacked
expect 0 diode manifest --compare inbox/tree.mtree unpacked -q

# A byte that changed later, a file that went, one that came: each of them says so.
printf y | dd of=inbox/tree/sub/data bs=1 seek=100 conv=notrunc status=none
rm inbox/tree/-rf
echo x >inbox/tree/more
expect 2 check >mtree.said
grep -q sha256 mtree.said || fail "$(cat mtree.said)"
expect 3 diode manifest --compare tree inbox/tree -q >differences
[ "$(cut -d' ' -f1,2 differences | tr -d : | paste -sd,)" = "missing -rf,extra more,changed sub/data" ] || fail "$(cat differences)"
