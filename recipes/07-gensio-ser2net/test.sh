#!/usr/bin/env bash
# diode over a ser2net port and through gensiot, one way: see README.md.
. "$(dirname "$0")/../common.sh"
need ser2net ser2net
need gensiot gensio-bin
BAUD=115200
head -c 20000 /dev/urandom >file

coupled line
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
sed "s|127.0.0.1,2000|127.0.0.1,$port|; s|/dev/ttyUSB0|$WORK/line.tx|" "$HERE/ser2net.yaml" >ser2net.yaml
start ser2net ser2net -n -c ser2net.yaml
until_true 20 python3 -c "import socket; socket.create_connection(('127.0.0.1', $port), 1)"

# Through gensiot into the port, from there over the serial line. The line's rate is said to `-` so
# that nothing has to be thrown away in between.
listen there inbox --from "$RX" --once
there=$process
diode send -q file --to "-?rate=$BAUD" --impair "$IMPAIR" "${SPARE[@]}" |
  "$HERE/keep-open" 2 | gensiot -i 'stdio(self)' "tcp,localhost,$port" >gensiot.said 2>&1 || true
heard $there
same file inbox/file
