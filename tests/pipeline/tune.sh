#!/bin/sh
# What `tune` measures is what `plan --profile` and the others plan by; interrupted, it goes on; a profile that is
# damaged, or of another device or other kernels, is refused.
. "$(dirname "$0")/common.sh"
quick="-- --each 0.0001"

expect 0 "$rematc" tune "$spec" $small --device host --budget 4MiB --emit --folder program
grep -q '^program: tune.c for host$' stdout.txt || fail "$(cat stdout.txt)"
make -s -C program >make.log 2>&1 || fail "$(cat make.log)"
expect 0 program/tune -o whole.profile --each 0.0001
grep -q ' 0 there before, 0 left; 100.0% of the planned step' stdout.txt || fail "$(tail -n 1 stdout.txt)"
LC_ALL=C sort -u -c whole.profile || fail "the profile is not sorted"
operations=$(grep -c '^time ' whole.profile)
[ "$operations" -gt 30 ] || fail "$operations records"
# on the host each stands there a second time, as it is within whole steps; copies alone do not
within=$(grep -c '^within ' whole.profile)
[ "$within" = $((operations - 2)) ] || fail "$within of $operations operations were timed within steps"
records=$((operations + within))
# again: everything is there
cp whole.profile before.profile
expect 0 program/tune -o whole.profile --each 0.0001
grep -q ": 0 measured, $operations there before" stdout.txt || fail "$(tail -n 1 stdout.txt)"
cmp whole.profile before.profile || fail "a profile that is whole was changed"

# Attention has variants, of which one is the fastest; a profile that names others makes programs that take these, at
# every plan the same, and compile no more than they take.
[ "$(grep -c '^variant [0-9a-f]* attend[a-z_]* .* : attend_[a-z0-9_]*$' whole.profile)" -ge 2 ] || fail "variants: $(grep '^variant' whole.profile)"
sed -e '/^variant/s/ : attend_q.*/ : attend_q32/' -e '/^variant/s/ : attend_bwd_q.*/ : attend_bwd_q32_k32/' whole.profile >varied.profile
corpus
for policy in none every-block; do
    expect 0 "$rematc" build "$spec" $small --device host --budget 64MiB --policy $policy --profile varied.profile -o varied-$policy --quiet
    grep -q '^ *VARIANT(attend_bwd_q32_k32);$' varied-$policy/train.c || fail "$policy: the variant is not called"
    grep -q '^VARIANTS = -DK_WITH_attend_q32=1 -DK_WITH_attend_bwd_q32_k32=1$' varied-$policy/Makefile || fail "$(grep VARIANTS varied-$policy/Makefile)"
    expect 0 varied-$policy/train --quiet --steps 5 --poison --save-dir varied-$policy.save --log varied-$policy.jsonl
    losses varied-$policy.jsonl >varied-$policy.losses
done
[ "$(wc -l <varied-none.losses)" = 5 ] && cmp varied-none.losses varied-every-block.losses || fail "one profile, two plans, two results"
! grep -q VARIANT program/Makefile || grep -q '^VARIANTS = -DK_ALL_VARIANTS$' program/Makefile || fail "the tuner has not all variants"
expect 0 "$rematc" plan "$spec" $small --device host --budget 4MiB --profile varied.profile --why 'h.1.layer.attend'
grep -q 'its kernel is the variant attend_q32, the fastest' stdout.txt || fail "$(cat stdout.txt)"
# what was chosen stays when times are measured again
grep -v '^time\|^within' varied.profile >again.profile
expect 0 program/tune -o again.profile --each 0.0001 --only attend
grep '^variant' again.profile >again.variants
grep '^variant' varied.profile | cmp - again.variants || fail "other variants than those that were chosen"
sed '/^variant/s/ : attend_q32/ : attend_q33/' varied.profile >bad.profile
expect 1 "$rematc" plan "$spec" $small --device host --budget 4MiB --profile bad.profile
grep -q "^bad.profile:[0-9]*:1: error: 'attend_q33' is no variant of 'attend" stderr.txt || fail "$(cat stderr.txt)"
expect 6 program/tune -o bad.profile --each 0.0001

# the plan's seconds are those of the profile
plan() { "$rematc" plan "$spec" $small --device host --budget 4MiB "$@"; }
seconds() { sed -n 's/^  "seconds": *\([0-9.e-]*\),.*/\1/p' "$1" | head -n 1; }
plan --json >computed.json
plan --profile whole.profile --json >measured.json
grep -q '"measured_share": 1.0' measured.json || fail "$(grep measured_share measured.json || echo 'no measured_share')"
! grep -q measured_share computed.json || fail "a plan without a profile speaks of one"
sed 's/p10_us=[^ ]* median_us=[^ ]* p90_us=[^ ]*/p10_us=1000000 median_us=1000000 p90_us=1000000/' whole.profile >slow.profile
plan --profile slow.profile --json >slow.json
# what was measured within steps counts
sed '/^within/s/median_us=[^ ]* p90_us=[^ ]*/median_us=1000000 p90_us=1000000/' whole.profile >within.profile
plan --profile within.profile --json >within.json
awk "BEGIN { exit !($(seconds within.json) > 100) }" || fail "a second an operation within steps: $(seconds within.json) s a step"
awk "BEGIN { exit !($(seconds slow.json) > 100 && $(seconds measured.json) < 100) }" ||
    fail "a second an operation: $(seconds slow.json) s a step"
plan --profile whole.profile >plan.txt
grep -q '^  computed from   times measured on .* thread' plan.txt || fail "$(grep 'computed from' plan.txt)"
plan --profile whole.profile --why 'h.1.mlp.fc' >why.txt
grep -q 'its time was measured: the median of [0-9]* whole steps, of which 80% took ' why.txt || fail "$(cat why.txt)"
grep -v ' linear f32' whole.profile >part.profile
plan --profile part.profile >plan.txt
grep -q "^  computed from   times measured .*% of the step, and figures for this computer, 2 cores as those of host-amx" plan.txt || fail "$(cat plan.txt)"
# another length: what was measured of the same kinds says how long it takes
plan --set T=64 --profile whole.profile >plan.txt
grep -q "^  computed from   times measured .*% of the step, [1-9][0-9.]*% interpolated between them" plan.txt || fail "$(cat plan.txt)"
plan --set T=64 --profile whole.profile --why 'h.1.mlp.fc' >why.txt
grep -q 'its time is interpolated between those measured of its kind, by: ' why.txt || fail "$(cat why.txt)"
plan --set T=64 --profile slow.profile --json >slow.json
awk "BEGIN { exit !($(seconds slow.json) > 10) }" || fail "slow operations of another length: $(seconds slow.json) s a step"
plan --profile part.profile --why 'h.1.mlp.fc' >why.txt
grep -q 'its time is computed from: ' why.txt || fail "$(cat why.txt)"
expect 0 "$rematc" sweep "$spec" $small --device host --budget 4MiB..4MiB --profile slow.profile --json
awk "BEGIN { exit !($(sed -n 's/.*"seconds": *\([0-9.e-]*\),.*/\1/p' stdout.txt | head -n 1) > 100) }" || fail "sweep: $(cat stdout.txt)"
expect 0 "$rematc" emit "$spec" $small --device host --budget 4MiB --profile slow.profile -o slow
awk "BEGIN { exit !($(sed -n 's/.*planned_seconds = \([^,]*\),.*/\1/p' slow/train.c) > 100) }" || fail "emit takes no profile"
# merged with itself and another, it is what it was
{ cat whole.profile; grep '^format\|^origin' whole.profile; } | LC_ALL=C sort -u >merged.profile
cmp whole.profile merged.profile || fail "merging changed it"

# refused: damaged, other kernels, another device, no profile
sed '$s/count=/coun=/' whole.profile >bad.profile
expect 1 plan --profile bad.profile
grep -q "^bad.profile:$(wc -l <bad.profile):1: error: count=... is expected" stderr.txt || fail "$(cat stderr.txt)"
sed 's/kernels=[0-9a-f]*/kernels=0000000000000000/' whole.profile >old.profile
expect 1 plan --profile old.profile
grep -q "no times of host with the kernels of this rematc; $records were taken there with other kernels" stderr.txt ||
    fail "$(cat stderr.txt)"
expect 1 "$rematc" plan "$spec" $small --device h100 --budget 4GiB --profile whole.profile
grep -q "no times of h100.*; $records on other devices: host" stderr.txt || fail "$(cat stderr.txt)"
expect 1 plan --profile "$spec"
expect 6 plan --profile nothing.profile
# what is there and no profile is not written over
echo 'a text of mine' >text.profile
expect 6 program/tune -o text.profile --each 0.0001
grep -q "'text.profile' is there and is no profile" stderr.txt || fail "$(cat stderr.txt)"
[ "$(cat text.profile)" = 'a text of mine' ] || fail "a text was written over"

# stopped by the clock, and killed: it goes on with what is missing
rm -f some.profile
expect 0 program/tune -o some.profile --each 0.0001 --seconds 0.000001
grep -q ' [1-9][0-9]* left; ' stdout.txt || fail "--seconds: $(tail -n 1 stdout.txt)"
for wait in 0.1 0.2 0.3; do
    program/tune -o some.profile --each 0.02 >/dev/null 2>&1 &
    sleep $wait
    kill -9 $! 2>/dev/null || :
    wait $! 2>/dev/null || :
done
expect 0 program/tune -o some.profile --each 0.0001
keys() { sed -n 's/^\([tw][^:]*\) : .*/\1/p' "$1"; }
keys whole.profile >whole.keys
keys some.profile >some.keys
cmp whole.keys some.keys || fail "another set of records after kills"
plan --profile some.profile >/dev/null || fail "the profile after kills is not read"

# in one go, into names made of the file's
cp "$spec" mine.remat
expect 0 "$rematc" tune mine.remat $small --device host --budget 4MiB $quick --only square_norm
[ -s mine.profile ] && [ -x mine.tune/tune ] || fail "tune left no mine.profile"
! grep -q '^[tw][a-z]* [0-9a-f]* linear' mine.profile || fail "--only measured more"
# copies are called by their records like everything else
expect 0 program/tune -o copies.profile --each 0.0001 --only offload
[ "$(grep -c '^time ' copies.profile)" = 1 ] && grep -q '^time [0-9a-f]* offload ' copies.profile || fail "--only offload: $(cat copies.profile)"
expect 0 program/tune -o copies.profile --each 0.0001 --only 'd fetch'
[ "$(grep -c '^time ' copies.profile)" = 1 ] || fail "--only, by a name that no record has: $(cat copies.profile)"
expect 2 "$rematc" tune mine.remat --emit -o x.profile
expect 2 "$rematc" tune mine.remat --emit -- --only linear
expect 2 "$rematc" tune mine.remat -o -
expect 2 program/tune --seconds nothing
expect 0 program/tune --help
echo "$operations operations"
