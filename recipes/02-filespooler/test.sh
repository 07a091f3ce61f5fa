#!/usr/bin/env bash
# Filespooler jobs over a diode, in order: see README.md.
. "$(dirname "$0")/../common.sh"
need fspl filespooler

work() { fspl -l WARN queue-process -q "$1" --allow-job-params "$HERE/work" -- "$WORK/$2"; }
numbers() { seq -s ' ' "$1"; }

# What Filespooler does by itself: it stops at a job that is missing, and says nothing; and it runs
# a job one bit of which has changed on the way.
for n in 1 2 3; do echo "payload $n" | fspl prepare -s seq0 -i - -- "$n" >"job$n"; done
fspl queue-init -q q0
for n in 1 3; do fspl queue-write -q q0 <"job$n"; done
expect 0 work q0 ran0
[ "$(paste -sd' ' ran0)" = 1 ] || fail "it should have stopped at job 2"
sed 's/payload 2/paylOad 2/' job2 >flipped
cmp -s job2 flipped && fail "nothing was flipped"
fspl queue-write -q q0 <flipped
expect 0 work q0 ran0
[ "$(paste -sd' ' ran0)" = "1 2 3" ] || fail "it should have run the damaged job"

# The same gap over the diode has a name, and an exit status. Each job is an object with a number.
for n in 1 2 3; do diode send -q "job$n" --to "file:job$n.cap"; done
cat job1.cap job3.cap >gap.cap
expect 3 diode recv gap --from file:gap.cap --json >gap.said
grep -q '"event": "gap".*"first": 2, "last": 2' gap.said || fail "the gap should be named"

# Fifty jobs, every object delayed or lost in a pass by chance, out of order.
mkdir jobs
for n in $(seq 50); do
  echo "payload $n" | fspl prepare -s seq -i - -- "$n" >"jobs/$(printf %02d "$n").fspl"
done
diode send -q jobs --no-bundle --passes 10 --redundancy 0% --to 'file:jobs.cap?rate=1M' \
  --impair drop=30%,burst=300ms/3s,reorder=40,seed=${SEED:-3}
head -c $(($(stat -c %s jobs.cap) / 10)) jobs.cap >first-pass.cap
expect 3 diode recv first --from file:first-pass.cap --json >first.said
late=$((50 - $(grep -c '"object_delivered"' first.said)))
[ "$late" -ge 5 ] || fail "a tenth should have waited for a later pass, not $late"
fspl queue-init -q q1
expect 0 diode recv inbox --from file:jobs.cap --json \
  --on-delivery "$HERE/enqueue $WORK/q1 {path}" >jobs.said
sed -n 's/.*"object_delivered".*"number": \([0-9]*\),.*/\1/p' jobs.said >order
[ "$(wc -l <order)" = 50 ] || fail "50 jobs should have been delivered, not $(wc -l <order)"
sort -n -c order 2>/dev/null && fail "they should have come out of order"
expect 0 work q1 ran1
[ "$(paste -sd' ' ran1)" = "$(numbers 50)" ] || fail "executed: $(paste -sd' ' ran1)"

# Without Filespooler at the far side: --ordered delivers by number only.
expect 0 diode recv plain --from file:jobs.cap --ordered -q --on-delivery "$HERE/note {path} $WORK/ran2" >/dev/null
[ "$(paste -sd' ' ran2)" = "$(numbers 50)" ] || fail "delivered: $(paste -sd' ' ran2)"
