#!/bin/sh
# speed.sh NAME STEPS SECONDS: in a folder made by prepare.sh, trains speed/NAME for STEPS steps, at most SECONDS long,
# and prints a line of its median step, as the plan foresaw it and as it was, and of its memory. Then where the time
# goes, from two steps in a run of their own. Exit code: that of the trainer, 124 where the time was up.
set -u
cd "$(dirname "$0")" || exit 6
here=$(pwd) name=$1 steps=$2 seconds=$3
[ -x "speed/$name/train" ] || { echo "there is no speed/$name/train"; exit 6; }
work=$(mktemp -d "${TMPDIR:-/tmp}/speed.XXXXXX")
# one limit inside another: of one group, so that the outer one ends all
trap 'rm -rf "$work"' EXIT
cp tokens.u16 "$work/tokens.u16"
cp tokens.u16 "$work/val.bin" # where the program names one; so few steps never come to it
cd "$work" || exit 6
code=0
timeout --foreground -k 5 "$seconds" "$here/speed/$name/train" --data tokens.u16 --steps "$steps" --sample 0 --quiet \
    --log steps.jsonl || code=$?
[ ! -s steps.jsonl ] || { [ -z "${OUT:-}" ] || sed "s/^{/{\"program\":\"$name\",/" steps.jsonl >> "$OUT/steps.jsonl"; }
awk -v name="$name" '
    function value(key) { return match($0, "\"" key "\":[^,}]*") ? substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3) : "" }
    /"loss"/ { n++; s[n] = value("step_seconds") + 0; t[n] = value("tokens_per_second") * value("step_seconds"); loss = value("loss") }
    { planned = value("planned_bytes"); measured = value("measured_bytes") }
    /"planned_step_seconds"/ { foreseen = value("planned_step_seconds") }
    END {
        if (!n) { print "step," name ",no step was taken"; exit }
        for (i = 2; i <= n; i++) for (j = i; j > 1 && s[j - 1] > s[j]; j--) { x = s[j]; s[j] = s[j - 1]; s[j - 1] = x }
        m = s[int((n + 1) / 2)]
        printf "step,%s,median s,%.5f,planned s,%s,tokens/s,%.0f,peak bytes,%s,planned bytes,%s,steps,%d,last loss,%s\n",
            name, m, foreseen, t[1] / m, measured, planned, n, loss
    }' steps.jsonl 2> /dev/null || echo "step,$name,no step was taken"
[ "$code" = 0 ] || exit "$code"
timeout --foreground -k 5 "$seconds" "$here/speed/$name/train" --data tokens.u16 --steps 2 --sample 0 --profile --log profile.jsonl
