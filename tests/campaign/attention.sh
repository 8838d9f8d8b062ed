#!/bin/sh
# attention.sh TEST_OPS_CUDA WORK: attention forward and backward on the simulated device, at every length at which a tile
# may end, with every kind of head and mask: held to the rules of kernels.h and against the host's in double.
# REMAT_CAMPAIGN_STRIDE (1): every so manieth of the cases, another one each day; REMAT_CAMPAIGN_SEED: which.
set -eu
test_ops=$1 work=$2
stride=${REMAT_CAMPAIGN_STRIDE:-1} seed=${REMAT_CAMPAIGN_SEED:-$(date +%j)}
mkdir -p "$work"
awk -v stride="$stride" -v seed="$((seed))" '
    function add(name, inputs, outputs, causal) {
        if ((count++ + seed) % stride == 0) printf "%s;%s;%s;%d\n", name, inputs, outputs, causal
    }
    function heads(n) { return "a:1x" T "x" n "x" E }
    BEGIN {
        times = split("1 2 7 8 15 16 17 31 32 33 63 64 65 127 128 129 191 255 256 257 300", time)
        widths = split("5 8 16 40 64 72 96 128 202", width)
        groups = split("1x1 2x2 4x2 3x1", group) # heads x those of keys
        for (t = 1; t <= times; t++) for (w = 1; w <= widths; w++) for (g = 1; g <= groups; g++)
            for (causal = 0; causal < 2; causal++) for (documents = 0; documents < 2; documents++) {
                T = time[t]; E = width[w]
                split(group[g], n, "x")
                H = n[1]; K = n[2]
                sight = documents ? " f9:1x" T " l9:1x" T : ""
                lse = "s:1x" H "x" T
                qkv = "a:1x" T "x" (H + 2 * K) * E
                add("attend", heads(H) " " heads(K) " " heads(K) sight, heads(H) " " lse, causal)
                add("attend_bwd", heads(H) " " heads(H) " " heads(K) " " heads(K) " " heads(H) " " lse sight,
                    heads(H) " " heads(K) " " heads(K), causal)
                add("attend_packed", qkv sight, heads(H) " " lse, causal)
                add("attend_packed_bwd", heads(H) " " qkv " " heads(H) " " lse sight, qkv, causal)
            }
    }' > "$work/cases"
all=$(wc -l < "$work/cases")
[ "$all" -gt 0 ] || { echo "no cases" >&2; exit 1; }
echo "$all cases, stride $stride, seed $seed"
split -l 50 "$work/cases" "$work/part-"
done=0 bad=0
for part in "$work"/part-*; do
    "$test_ops" --cases "$part" > "$work/log" 2>&1 || { bad=$((bad + 1)); grep 'ERROR\|cases:' "$work/log" >&2 || cat "$work/log" >&2; }
    done=$((done + $(wc -l < "$part")))
    rm "$part"
    echo "$done of $all"
done
[ "$bad" = 0 ] || { echo "$bad parts went wrong" >&2; exit 1; }
echo "nothing wrong"
