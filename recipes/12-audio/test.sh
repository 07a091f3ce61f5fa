#!/usr/bin/env bash
# Two machines and an audio cable; here the cable is a recording, with noise and a level: see README.md.
. "$(dirname "$0")/../common.sh"
need sox sox
python3 -c 'import soundfile' 2>/dev/null || python -c 'import soundfile' 2>/dev/null || { echo "SKIPPED: python soundfile is missing (pip install 'diode-fec[audio]')"; exit 77; }

# cable IN OUT LEVEL: quieter, with hiss.
cable() {
  sox -R -n noise.wav synth "$(soxi -D "$1")" whitenoise vol 0.002 rate 48000 channels 1
  sox -R -m -v "$3" "$1" -v 1 noise.wav "$2"
}

# Too loud clips, too soft drowns: the link test says so before anything is sent.
diode linktest send --to 'wav:test.wav?modem=cable' --seconds 5s -q
cable test.wav heard.wav 0.3
diode linktest recv --from wav:heard.wav --json >linktest.said || fail "$(cat linktest.said)"
grep -q level linktest.said || fail "$(cat linktest.said)"

head -c 3000 /dev/urandom >file
diode send -q file --to 'wav:play.wav?modem=cable' "${SPARE[@]}" --impair "drop=5%,seed=1"
cable play.wav record.wav 0.3
# 300 ms in which nobody had the plug in.
sox -R record.wav -n trim 0 1 stat 2>/dev/null
sox -R record.wav a.wav trim 0 1.0
sox -R record.wav b.wav trim 1.3
sox -R -n silence.wav synth 0.3 sine 1 vol 0 rate 48000 channels 1
sox -R a.wav silence.wav b.wav line.wav
expect 0 diode recv inbox --from wav:line.wav -q >/dev/null
same file inbox/file
