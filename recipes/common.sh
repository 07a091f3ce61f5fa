# What the tests of the recipes have in common: a folder of their own, a line that loses, an end to all.
# Sourced by each test.sh. The programs are the real ones; a test without its programs says so and
# ends with status 77.
set -euo pipefail
shopt -s inherit_errexit

HERE=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
WORK=$(mktemp -d "${TMPDIR:-/tmp}/diode-recipe-XXXXXX")
export HOME=$WORK/home XDG_STATE_HOME=$WORK/state XDG_CONFIG_HOME=$WORK/config TMPDIR=$WORK/tmp
export NO_COLOR=1 LC_ALL=C.UTF-8
mkdir -p "$HOME" "$XDG_CONFIG_HOME" "$TMPDIR"
cd "$WORK"

command -v diode >/dev/null || { echo "diode is not on the PATH: make test-recipes" >&2; exit 1; }

# Each twentieth frame is lost, and the line is dead for 300 ms in every three seconds.
IMPAIR=${IMPAIR:-drop=5%,burst=300ms/3s,seed=${SEED:-1}}
BAUD=${BAUD:-921600}
SPARE=(--redundancy 60% --passes 2 --burst 300ms)

started=()
finish() {
  local status=$?
  for process in "${started[@]}"; do kill "$process" 2>/dev/null || true; done
  wait 2>/dev/null || true
  if [ $status -ne 0 ] && [ $status -ne 77 ]; then
    echo "what was said:" >&2
    tail -n 5 "$WORK"/*.said >&2 2>/dev/null || true
  fi
  cd /
  chmod -R u+w "$WORK" 2>/dev/null || true
  [ -n "${KEEP:-}" ] || rm -rf "$WORK"
  exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

# need PROGRAM PACKAGE: what this recipe is about.
need() {
  command -v "$1" >/dev/null || { echo "SKIPPED: $1 is missing (apt install $2)"; exit 77; }
}

# fail WORDS: the recipe does not do what it says.
fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# expect STATUS COMMAND...: it ends so.
expect() {
  local wanted=$1 got=0
  shift
  "$@" || got=$?
  [ "$got" = "$wanted" ] || fail "status $got instead of $wanted of: $*"
}

# same A B: two files or folders with the same content.
same() {
  diff -r "$1" "$2" >&2 || fail "$1 and $2 differ"
}

# until_true SECONDS COMMAND...: wait for it.
until_true() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "it did not come to that: $*"
    sleep 0.05
  done
}

# start NAME COMMAND...: in the background; its number is in $process, what it says in NAME.said.
start() {
  local name=$1
  shift
  "$@" >"$WORK/$name.said" 2>&1 &
  process=$!
  started+=("$process")
}

# coupled NAME: two terminals joined in one direction, $TX to $RX. No byte can go the other way.
coupled() {
  start "line-$1" python3 "$HERE/../line.py" "$WORK/$1.tx" "$WORK/$1.rx"
  until_true 10 test -e "$WORK/$1.tx" -a -e "$WORK/$1.rx"
  TX="serial:$WORK/$1.tx?baud=$BAUD" RX="serial:$WORK/$1.rx?baud=$BAUD"
}

# listen NAME ARGUMENTS...: `diode recv` in the background, which listens when this returns.
listen() {
  local name=$1
  shift
  start "$name" diode recv --json "$@"
  until_true 60 listens "$name" "$process"
  kill -0 "$process" 2>/dev/null || fail "a receiver has ended at once"
}
listens() {
  grep -q '"listening"' "$WORK/$1.said" || ! kill -0 "$2" 2>/dev/null
}

# heard PROCESS [STATUS]: wait for it.
heard() {
  local got=0
  wait "$1" || got=$?
  [ "$got" = "${2:-0}" ] || fail "status $got instead of ${2:-0} of a receiver"
}

# transmit ARGUMENTS...: over the line that loses.
transmit() {
  diode send -q "$@" --to "$TX" --impair "$IMPAIR" "${SPARE[@]}"
}
