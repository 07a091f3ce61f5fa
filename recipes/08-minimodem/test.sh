#!/usr/bin/env bash
# diode and minimodem, each hearing the other one: see README.md.
. "$(dirname "$0")/../common.sh"
need minimodem minimodem
python3 -c 'import soundfile' 2>/dev/null || python -c 'import soundfile' 2>/dev/null || { echo "SKIPPED: python soundfile is missing (pip install 'diode-fec[audio]')"; exit 77; }
head -c 60 /dev/urandom >file

# clean NAME: nothing that was heard was wrong or lost.
clean() { grep '"event": "link"' "$1.said" | tail -n 1 | grep -q '"rejected": 0, "lost": 0' || fail "$1: $(grep '"link"' "$1.said" | tail -n 1)"; }

for one in 'bell103 300' 'bell202 1200'; do
  read -r modem baud <<<"$one"
  # What minimodem plays, diode hears.
  diode send -q file --to - >bytes
  minimodem --tx --tx-carrier -f "theirs-$baud.wav" "$baud" <bytes
  diode recv "a-$baud" --from "wav:theirs-$baud.wav?modem=$modem" --json >"a-$baud.said"
  same file "a-$baud/file"
  clean "a-$baud"
  # What diode plays, minimodem hears.
  diode send -q file --to "wav:ours-$baud.wav?modem=$modem"
  minimodem --rx -q -f "ours-$baud.wav" "$baud" >heard
  diode recv "b-$baud" --from - --json <heard >"b-$baud.said"
  same file "b-$baud/file"
  clean "b-$baud"
done

# A line that loses: frames, and 300 ms of everything.
diode send -q file --to "-?rate=1200" --redundancy 100% --passes 2 --burst 300ms \
  --impair "drop=5%,burst=300ms/10s,seed=2" >bytes
minimodem --tx -f lossy.wav 1200 <bytes
expect 0 diode recv c --from "wav:lossy.wav?modem=bell202" -q >/dev/null
same file c/file
