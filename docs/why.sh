#!/usr/bin/env bash
# What programs that expect answers do on a line whose way back is cut, and what diode does on it.
# docs/why.md has what it printed. Takes two minutes; needs diode on the PATH and
# apt install lrzsz ckermit uucp gensio-bin.
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
chmod 755 "$work"
cd "$work" || exit 1
head -c 20000 /dev/urandom >file
python3 "$here/../recipes/line.py" tx rx &
line=$!
trap 'kill $line; rm -rf "$work"' EXIT
until [ -e rx ]; do sleep 0.05; done
chmod 666 "$(readlink tx)" "$(readlink rx)"
port=$work/tx
listen() { timeout 100 cat rx >heard & listener=$!; }
tell() { kill $listener 2>/dev/null; echo "    status $1; $(stat -c %s heard) bytes went over the line"; echo; }
show() { tr '\r' '\n' | grep -a -v '^ *$' | sed "s|$work/||g; s/^/    /"; }

echo "sz file (lrzsz)"
listen
timeout 90 sz file <tx >tx 2>said; status=$?
show <said; tell $status

echo "kermit: send file (C-Kermit)"
listen
cat >script <<SCRIPT
set exit warning off
set carrier-watch off
set line $port
set speed 115200
set flow none
set retry 3
set send timeout 2
set transfer display brief
send file
if failure echo the transfer has failed
exit
SCRIPT
timeout 90 kermit script </dev/null >said 2>&1; status=$?
show <said; tell $status

echo "uucico -S there (Taylor UUCP)"
listen
mkdir -m 777 uu uu/spool uu/pub
printf '%s\n' 'nodename here' "spool $work/uu/spool" "pubdir $work/uu/pub" "logfile $work/uu/log" \
  "statfile $work/uu/stats" "debugfile $work/uu/debug" "sysfile $work/uu/sys" "portfile $work/uu/port" \
  "lockdir $work/uu" >uu/config
printf '%s\n' 'system there' 'time any' 'call-login me' 'call-password me' 'port line' 'chat-timeout 10' \
  'commands rmail' 'remote-send /' 'local-send /' >uu/sys
printf '%s\n' 'port line' 'type direct' "device $port" 'speed 115200' 'carrier false' >uu/port
uucp -I uu/config -r file 'there!~/file'
timeout 90 /usr/sbin/uucico -I uu/config -S there; status=$?
sed 's/^\(uu[a-z]*\) there \([a-z-]*\) ([^)]*)/\1:/' uu/log | show; tell $status

echo "gensiot … relpkt,…,serialdev,… (gensio's reliable packets)"
listen
(cat file; sleep 30) | timeout 90 gensiot -i 'stdio(self)' "relpkt,msgdelim,serialdev,$port,115200n81,local" >said 2>&1
status=${PIPESTATUS[1]}
show <said; tell $status

echo "diode send file --to serial:tx --passes 2"
chmod 755 .
export XDG_STATE_HOME=$work/state
diode recv inbox --from serial:rx?baud=115200 --once >said 2>&1 &
receiver=$!
sleep 3
diode send file --to 'serial:tx?baud=115200' --passes 2 2>sent; status=$?
wait $receiver; received=$?
show <sent
echo "    status $status; at the far side:"
show <said
echo "    status $received; $(cmp file inbox/file && echo the same file)"
