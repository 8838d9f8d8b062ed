#!/bin/sh
# What `plan`, `plan --why`, `plan --compare` and `sweep` say is true of the plans they speak of.
. "$(dirname "$0")/common.sh"
"$rematc" sweep "$spec" $small --budget 2MiB..4MiB --points 4 --json >sweep.json
[ "$(grep -c '"device"' sweep.json)" = 4 ] || fail "not four rows"
# a row is the plan that `plan` makes with that budget
budget=$(json_int budget_bytes sweep.json)
"$rematc" plan "$spec" $small --budget "${budget}B" --json >plan.json 2>/dev/null &&
    { [ "$(json_int peak_bytes plan.json)" = "$(json_int peak_bytes sweep.json)" ] || fail "sweep and plan differ"; }
# more memory is never slower
sed -n 's/.*"seconds": \([0-9.e-]*\),.*/\1/p' sweep.json | awk 'NR > 1 && $1 > last { exit 1 } { last = $1 }' ||
    fail "a larger budget gave a slower plan"
# the longest context fits, the next one does not
"$rematc" sweep "$spec" $small --budget 8MiB --maximize T --json >longest.json
longest=$(json_int context longest.json)
[ "$longest" -gt 32 ] || fail "longest context $longest"
tokens=$((longest * 4 * 2))
"$rematc" check "$spec" $small --set T=$longest --set tokens_per_step=$tokens >/dev/null
expect 0 "$rematc" plan "$spec" $small --set T=$longest --set tokens_per_step=$tokens --budget 8MiB
next=$((longest + 32))
expect 3 "$rematc" plan "$spec" $small --set T=$next --set tokens_per_step=$((next * 8)) --budget 8MiB
expect 0 "$rematc" plan "$spec" $small --budget 1GiB --why 'h.1'
grep -q 'h.1.mlp.fc: linear' stdout.txt || fail "--why says nothing of h.1.mlp.fc"
expect 2 "$rematc" plan "$spec" $small --why 'h.1.nothing'
expect 2 "$rematc" plan "$spec" --compare --policy sqrt
expect 0 "$rematc" plan "$spec" $small --budget 1GiB --compare
policies=$(sed -n 's/^POLICY([A-Z_]*, "\([a-z-]*\)".*/\1/p' "$(dirname "$0")/../../planner/policy.def")
[ "$(echo "$policies" | wc -l)" -ge 6 ] || fail "planner/policy.def lists '$policies'"
for policy in $policies; do grep -q "^$policy " stdout.txt || fail "policy $policy has no row"; done
expect 2 "$rematc" sweep "$spec" --budget 4MiB..2MiB
expect 2 "$rematc" sweep "$spec" --budget small..large
expect 2 "$rematc" sweep "$spec" --maximize B
expect 2 "$rematc" rapport somewhere
# the chart has a mark for each row that fits, and no row no chart
"$rematc" sweep "$spec" $small --budget 1MiB..4MiB --points 4 -o chart.svg --json >sweep.json
fits=$(grep -c '"fits": true' sweep.json)
[ "$fits" -gt 1 ] && [ "$fits" -lt 4 ] || fail "$fits of four rows fit"
[ "$(grep -c 'class="mark s0"><path d="[^"]*"><title>' chart.svg)" = "$fits" ] || fail "marks are not rows: $(grep -c 'class="mark' chart.svg)"
tail -n 1 chart.svg | grep -q '^</svg>$' || fail "half a chart"
rm chart.svg
expect 3 "$rematc" sweep "$spec" $small --budget 10KiB..20KiB --points 2 -o chart.svg
expect 2 "$rematc" sweep "$spec" $small -o chart.png
[ ! -e chart.svg ] || fail "a chart of nothing"
# host memory with which the whole fits does not stand in the way of tiles that are faster
seconds() { sed -n 's/.*"seconds": *\([0-9.e-]*\),.*/\1/p' "$1" | head -n 1; }
"$rematc" plan "$spec" --budget 30400KiB --json >without.json
"$rematc" plan "$spec" --budget 30400KiB --set host=4MiB --json >with.json
awk "BEGIN { exit !($(seconds with.json) <= $(seconds without.json)) }" ||
    fail "with host memory $(seconds with.json) s, without $(seconds without.json) s"
# a fixed B is not cut for speed, and the plan says what would allow it
"$rematc" plan "$spec" --budget 31MiB --json >fixed.json
"$rematc" plan "$spec" --budget 31MiB --set 'B=auto(16..16)' --json >auto.json
grep -q 'B = auto(16..16)' fixed.json || fail "nothing is said of tiles for speed"
awk "BEGIN { exit !($(seconds auto.json) < $(seconds fixed.json)) }" ||
    fail "B = 16 $(seconds fixed.json) s, B = auto(16..16) $(seconds auto.json) s"
# the policy that needs host memory says so where it has none; of pins that fit, the last holds
expect 0 "$rematc" plan "$spec" $small --budget 1GiB --policy offload-blocks
grep -q 'because *no host memory is given' stdout.txt || fail "nothing is said of host memory that is missing"
{ cat "$spec"; echo 'recompute "h.*"'; echo 'keep "h.1.mlp.fc"'; } >pins.remat
expect 0 "$rematc" plan pins.remat $small --budget 1GiB --why 'h.1.mlp.fc'
grep -q 'pinned by the file: keep' stdout.txt || fail "--why names a pin that does not hold"
# the change that is said to fit does, and half of it does not
for budget in 3MiB 2MiB 1500KiB; do
    expect 3 "$rematc" plan "$spec" $small --set B=8 --set T=256 --set tokens_per_step=4096 --budget $budget
    halved=$(sed -n '/would/s/^help: .*T = \([0-9]*\) (.*/\1/p' stderr.txt)
    [ -n "$halved" ] || fail "no change that fits $budget: $(cat stderr.txt)"
    expect 0 "$rematc" plan "$spec" $small --set B=8 --set T=$halved --set tokens_per_step=4096 --budget $budget
    expect 3 "$rematc" plan "$spec" $small --set B=8 --set T=$((halved * 2)) --set tokens_per_step=4096 --budget $budget
done
echo "longest context in 8 MiB: $longest"
