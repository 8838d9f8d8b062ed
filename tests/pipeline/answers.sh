#!/bin/sh
# Answers agree with each other and with what happens next: the smallest budget that is named works and nothing below it
# does, nothing is planned that the device has no memory for unless that is pretended, what is said to need less does,
# and what fits nothing says so in JSON too. `json_valid` reads what is said to be JSON.
json_valid=$4
. "$(dirname "$0")/common.sh"
examples=$source_dir/examples
llama=$examples/llama3-8b.remat
NO_COLOR=1
export NO_COLOR
says() { # TEXT FILE...: a fixed string
    text=$1
    shift
    grep -qF -e "$text" "$@" || { cat "$@" >&2; fail "not said: $text"; }
}
hushed() { # TEXT FILE
    ! grep -qF -e "$1" "$2" || fail "$2 says: $1"
}
rounded() { # of "x 30.73 MiB": 30.73MiB
    sed -n "s/.*$1 \\([0-9.]*\\) \\([KMGT]*i*B\\).*/\\1\\2/p" "$2" | head -n 1
}
less() { # one hundredth below 30.73MiB
    echo "$1" | awk '{ unit = $1; sub(/[0-9.]*/, "", unit); printf "%.2f%s\n", $1 - 0.01, unit }'
}

# every example plans as it is shipped; the one that no card holds says what it pretends
for file in "$examples"/*.remat; do
    expect 0 "$rematc" plan "$file" --json
    "$json_valid" stdout.txt || fail "$file: no JSON"
    case $file in
    *llama3-70b*) says '"memory_pretended": true' stdout.txt ;;
    *) says '"memory_pretended": false' stdout.txt ;;
    esac
done

# the smallest budget, in bytes and as it is printed: it fits, and what is a byte or a hundredth less does not
smallest_holds() { # FILE OPTIONS...: in `plan`, E0701, JSON and `--compare` alike
    expect 3 "$rematc" plan "$@" --budget 1MiB --json
    "$json_valid" stdout.txt || fail "no JSON: $*"
    says '"feasible": false' stdout.txt
    smallest=$(json_int smallest_bytes stdout.txt)
    shown=$(rounded 'feasible budget is' stderr.txt)
    expect 0 "$rematc" plan "$@" --budget "${smallest}B" --json
    [ "$(json_int smallest_bytes stdout.txt)" = "$smallest" ] || fail "plan and E0701 differ: $*"
    peak=$(($(json_int peak_bytes stdout.txt) + $(json_int reserved_bytes stdout.txt)))
    [ "$peak" -le "$smallest" ] || fail "$peak bytes in a budget of $smallest: $*"
    expect 0 "$rematc" plan "$@" --budget "$shown"
    [ "$(rounded 'smallest budget' stdout.txt)" = "$shown" ] || fail "plan says another smallest than $shown: $*"
    expect 3 "$rematc" dump --stage plan "$@" --budget "$((smallest - 1))B"
}
smallest_holds "$spec"
expect 3 "$rematc" dump --stage plan "$spec" --budget "$(less "$shown")"
expect 0 "$rematc" plan "$spec" --compare
[ "$(rounded 'smallest budget' stdout.txt)" = "$shown" ] || fail "--compare says another smallest than $shown"
smallest_holds "$spec" --set 'B=auto(1..16)'
smallest_holds "$examples/qwen2-0.5b.remat"
# training needs less than evaluation in its tiles where its activations are in host memory
smallest_holds "$examples/gpt2-124m.remat" --set host=1GiB
# at B = 4 a step is one micro-step, and gradients need not be kept: less than any smaller B needs
smallest_holds "$examples/qwen2-0.5b.remat" --set clip_norm=0 --set tokens_per_step=8192
single=$smallest
expect 3 "$rematc" plan "$examples/qwen2-0.5b.remat" --set clip_norm=0 --set tokens_per_step=8192 --set B=4 --budget 1MiB --json
[ "$(json_int smallest_bytes stdout.txt)" = "$single" ] || fail "B = 4 alone needs another smallest than $single"

# one meaning of the peak, of saving and of slowdown: those of `plan` are those of `--compare` and of `sweep`
ratio() { sed -n "s/.*\"$1\": *\\(-*[0-9.e-]*\\),*.*/\\1/p" "$2" | head -n 1; }
qwen="$examples/qwen2-0.5b.remat"
expect 0 "$rematc" plan "$qwen" --budget 12GiB --json
mv stdout.txt plan.json
expect 0 "$rematc" plan "$qwen" --budget 12GiB --compare --json
"$json_valid" stdout.txt || fail "--compare: no JSON"
sed -n '/"optimal"/,$p' stdout.txt >optimal.json
expect 0 "$rematc" sweep "$qwen" --budget 12GiB --json
mv stdout.txt sweep.json
for file in optimal.json sweep.json; do
    [ "$(json_int peak_bytes plan.json)" = "$(json_int peak_bytes $file)" ] || fail "$file: another peak"
done
awk "BEGIN { saving = 1 - $(json_int peak_bytes plan.json) / $(json_int keep_all_bytes plan.json)
             slowdown = $(ratio seconds plan.json) / $(ratio keep_all_seconds plan.json) - 1
             exit !((saving - $(ratio saving optimal.json))^2 < 1e-12 && (slowdown - $(ratio slowdown optimal.json))^2 < 1e-12) }" ||
    fail "--compare saves $(ratio saving optimal.json), $(ratio slowdown optimal.json) slower"

# nothing is planned that the device has no memory for, whether the budget is the device's, the file's or typed
for budget in "" "--budget 200GiB" "--budget 24GiB"; do
    expect 3 "$rematc" plan "$llama" --set L=4 --device rtx4090 $budget
done
for verb in "emit -o folder" "build -o folder" "run -o folder" "graph -o picture.dot" "dump --stage layout"; do
    expect 3 "$rematc" ${verb%% *} "$llama" --set L=4 ${verb#* } --device rtx4090
    says 'no plan fits 23.64 GiB on rtx4090' stderr.txt
done
[ ! -e folder ] && [ ! -e picture.dot ] || fail "something was written of what does not fit"
says 'the budget of 130.00 GiB is more than rtx4090 has' stderr.txt
says "the dearest part is 'optimizer':" stderr.txt
says 'as it is it fits rtx5090 (31.37 GiB)' stderr.txt
# a larger budget than the device has is no harm where the plan fits what it has
expect 0 "$rematc" plan "$spec" --device rtx4090 --budget 48GiB --json
says 'the budget of 48.00 GiB is more than rtx4090 has: planned for its 23.64 GiB' stderr.txt
[ "$(json_int budget_bytes stdout.txt)" = $((24207 << 20)) ] || fail "budget $(json_int budget_bytes stdout.txt)"

# what is said to need less does, and is what `plan` then calls the smallest
needs() { # BYTES-AS-PRINTED OPTIONS...
    size=$1
    shift
    says "$(echo "$size" | sed 's/\([KMGT]iB\)/ \1/')" llama.txt
    expect 0 "$rematc" plan "$llama" --device h200 --device-memory 1TiB --budget "$size" "$@"
    expect 3 "$rematc" dump --stage plan "$llama" --device h200 --budget "$(less "$size")" "$@"
}
expect 3 "$rematc" plan "$llama" --budget 24GiB
cp stderr.txt llama.txt
says "the dearest part is 'optimizer': 89.75 GiB" llama.txt
says 'as it is it fits h200 (139.80 GiB), b200 (178.35 GiB) and b300 (264.57 GiB)' llama.txt
early="--set train.clip_norm=0 --set train.tokens_per_step=4096" moments="--set dtype.optimizer=bf16"
# what alone surely does not fit is said together with the rest: how much is looked for once
says "76.67 GiB without clipping and accumulation, with the optimizer's moments in bf16 ($early $moments)" llama.txt
[ "$(grep -o 'with the optimizer' llama.txt | wc -l)" = 1 ] || fail "said twice: $(cat llama.txt)"
needs 76.67GiB $early $moments
expect 3 "$rematc" plan "$llama" --budget 100GiB
cp stderr.txt llama.txt
says "90.75 GiB with the optimizer's moments in bf16 ($moments), which fits; 76.67 GiB without" llama.txt
hushed "accumulation ($early)" llama.txt
expect 3 "$rematc" plan "$llama" --budget 110GiB
cp stderr.txt llama.txt
says "without clipping and accumulation ($early), which fits; 90.75 GiB" llama.txt
says "with the optimizer's moments in bf16 ($moments), which fits; 76.67 GiB with both, which fits" llama.txt
needs 106.58GiB $early
needs 90.75GiB $moments
needs 76.67GiB $early $moments

# a size that is pretended is asked for, and said wherever the device is named
pretended='(pretended memory: 1.17 TiB)'
for options in "" --compare; do
    expect 0 "$rematc" plan "$spec" --device h200 --device-memory 1200GiB --budget 1100GiB $options
    says "$pretended" stdout.txt
    expect 0 "$rematc" plan "$spec" --device h200 --device-memory 1200GiB --budget 1100GiB --json $options
    says '"memory_pretended": true' stdout.txt
    [ "$(json_int device_memory_bytes stdout.txt)" = $((1200 << 30)) ] || fail "pretended $(json_int device_memory_bytes stdout.txt)"
done
expect 0 "$rematc" sweep "$spec" --device h200 --device-memory 1200GiB --budget 1000GiB
says "h200 $pretended" stdout.txt
expect 0 "$rematc" emit "$spec" --device h200 --device-memory 1200GiB --budget 1100GiB -o pretended
says "$pretended" stdout.txt
says "planned for device h200 $pretended" pretended/train.cu
says '"memory_pretended": true' pretended/plan.json
expect 0 "$rematc" graph "$spec" --device h200 --device-memory 1200GiB --budget 1100GiB -o pretended.dot
says "$pretended" pretended.dot
sed 's/^device host/device h200 memory 1200GiB/; s/^budget .*/budget 1100GiB/' "$spec" >memory.remat
expect 0 "$rematc" plan memory.remat
says "$pretended" stdout.txt
expect 0 "$rematc" plan memory.remat --device b200 --json # another device has its own memory
says '"memory_pretended": false' stdout.txt
expect 2 "$rematc" plan "$spec" --device-memory 1200
says 'a byte size needs a unit' stderr.txt
expect 3 "$rematc" plan "$spec" --device-memory 10MiB --json
says '"memory_pretended": true' stdout.txt

# sweeps go by each device's own memory
expect 0 "$rematc" sweep "$llama" --set L=4 --device h200,rtx4090 --points 2
[ "$(grep -c '^rtx4090 .*does not fit' stdout.txt)" = 1 ] || fail "rtx4090 holds: $(cat stdout.txt)"
[ "$(grep -c '^h200 .*GiB .*GiB ' stdout.txt)" = 2 ] || fail "h200 holds: $(cat stdout.txt)"
expect 0 "$rematc" sweep "$spec" $small --budget 1GiB..64GiB --points 2 --device rtx4090,b200 --json
[ "$(grep -c '"fits": true' stdout.txt)" = 3 ] || fail "fits: $(cat stdout.txt)"
"$json_valid" stdout.txt || fail "sweep: no JSON"
expect 3 "$rematc" sweep "$spec" --budget 1MiB --json
[ "$(json_int smallest_bytes stdout.txt)" = "$("$rematc" plan "$spec" --json | json_int smallest_bytes /dev/stdin)" ] ||
    fail "sweep says another smallest: $(cat stdout.txt)"
expect 0 "$rematc" sweep "$spec" $small --device t4,rtx4090 --maximize T --json
sed '/rtx4090/,$d' stdout.txt >t4.json
sed -n '/rtx4090/,$p' stdout.txt >rtx4090.json
[ "$(json_int budget_bytes t4.json)" = $((15130 << 20)) ] || fail "t4 has $(json_int budget_bytes t4.json)"
[ "$(json_int budget_bytes rtx4090.json)" = $((24207 << 20)) ] || fail "rtx4090 has $(json_int budget_bytes rtx4090.json)"
longest=$(json_int context t4.json) tokens=$(json_int tokens_per_step t4.json)
[ "$longest" -lt "$(json_int context rtx4090.json)" ] || fail "t4 holds as long a context as rtx4090"
expect 0 "$rematc" plan "$spec" $small --device t4 --budget 15130MiB --set T=$longest --set tokens_per_step="$tokens"
expect 3 "$rematc" dump --stage plan "$spec" $small --device t4 --budget 15130MiB --set T=$((longest + 64)) \
    --set tokens_per_step=$((tokens / longest * (longest + 64)))

# where all is kept nothing more is offered; times of one operation say what they are times of
expect 0 "$rematc" plan "$spec" --budget 1GiB
hushed ' more  ' stdout.txt
expect 0 "$rematc" plan "$spec" $small --budget 1GiB --why h.1.mlp.fc
says 'a run, 2 runs a step' stdout.txt
expect 2 "$rematc" plan "$spec" $small --why h.1.mlp.fc --json
expect 3 "$rematc" plan "$spec" --budget 10MiB --compare --json
"$json_valid" stdout.txt || fail "--compare: no JSON"
says '"feasible": false' stdout.txt
# -- a smaller B is offered, and does, where tokens_per_step is given too --
expect 3 "$rematc" plan "$spec" --set tokens_per_step=4096 --budget 27.5MiB
least=$(sed -n 's/^help: B = 8 (\([0-9.]* MiB\)) would fit.*/\1/p' stderr.txt | tr -d ' ')
[ -n "$least" ] || { cat stderr.txt >&2; fail "no smaller B is offered"; }
expect 0 "$rematc" plan "$spec" --set tokens_per_step=4096 --set B=8 --budget "$least"
echo "llama3-8b without clipping and accumulation, with moments in bf16: 76.67 GiB"
