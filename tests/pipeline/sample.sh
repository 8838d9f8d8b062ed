#!/bin/sh
# Sampling a token at a time, over the keys and values of earlier ones: every example, shrunk, gives the text that running
# the whole window for each token gives, also behind the end of the window; each token is run once; what the caches take
# is planned, and no plan is larger for them. Models of which that cannot be done run their window, and the plan says so.
. "$(dirname "$0")/common.sh"
corpus
awk 'BEGIN { for (i = 0; i < 400; i++) printf "%c%c", i * i % 61 + 1, 0 }' >tokens.u16

# whole PROGRAM: the same program as PROGRAM.whole, without the steps of one token
whole() {
    rm -rf "$1.whole" && cp -rp "$1" "$1.whole"
    grep -q '^    \.step = ' "$1/train.c" || fail "$1: no steps of one token"
    sed 's/^    \.step = .*/    .step = NULL,/' "$1/train.c" >"$1.whole/train.c"
    make -s -C "$1.whole" CFLAGS="${CFLAGS:--O3 -march=native} -Wno-unused-function" >make.txt 2>&1 || fail "$(cat make.txt)"
}
# text PROGRAM OPTIONS...: what it samples
text() {
    program=$1
    shift
    "$program/train" --steps 2 --fresh --save-dir sample.save --log sample.jsonl "$@" >/dev/null 2>sample.err || fail "$(cat sample.err)"
    planned=$(json_int planned_bytes sample.jsonl)
    measured=$(sed -n 's/.*"measured_bytes": *\([0-9]*\).*/\1/p' sample.jsonl | tail -n 1)
    [ "$measured" -le "$planned" ] || fail "$program: $measured bytes used of $planned"
    sed -n 's/.*"sample"://p' sample.jsonl
}
# same NAME TOKENS CACHE_BYTES SPEC OPTIONS...: so many tokens, most of them behind the window of 16
same() {
    name=$1 tokens=$2 bytes=$3 file=$4
    shift 4
    expect 0 "$rematc" plan "$file" "$@" --json
    [ "$(json_int sampling_cache_bytes stdout.txt)" = "$bytes" ] || fail "$name: $(grep sampling_ stdout.txt), not $bytes"
    expect 0 "$rematc" build "$file" "$@" -o "$name" --quiet
    whole "$name"
    for option in "--temperature 0" "--temperature 0.9 --poison"; do
        # shellcheck disable=SC2086
        text "$name" --sample "$tokens" $option >got.txt
        [ -s got.txt ] || fail "$name: nothing is sampled"
        # shellcheck disable=SC2086
        text "$name.whole" --sample "$tokens" $option | cmp - got.txt || fail "$name: other text from the whole window, $option"
    done
}
shape="--set V=64 --set L=2 --set B=2 --set T=16 --set tokens_per_step=64 --set schedule=constant --set data.train=tokens.u16
  --set validate=0 --set optimizer.lr=1e-2"
heads="--set D=64 --set F=96 --set H=8 --set K=2"
# bytes, learned positions, dropout; then every other example, and a norm of queries and keys, in its types
same bytes 40 $((2 * 2 * 16 * 32 * 4)) "$spec" --set D=32 --set L=2 --set H=2 --set B=4 --set T=16 \
    --set tokens_per_step=64 --set train=corpus.txt
for example in gpt2-124m gpt2-xl llama3-8b llama3-70b qwen2-0.5b llama3-8b-qlora Qwen3-0.6B; do
    file=$source_dir/examples/$example.remat
    [ -f "$file" ] || file=$source_dir/tests/cases/import/$example.remat
    sed -e '/^weights/d' -e '/^budget/d' -e 's/^device .*/device host/' "$file" >$example.remat
    # shellcheck disable=SC2086
    case $example in
    gpt2-124m) same $example 40 $((2 * 2 * 16 * 64 * 4)) $example.remat $shape --set D=64 --set H=4 ;;
    gpt2-xl) same $example 40 $((2 * 2 * 16 * 64 * 2)) $example.remat $shape --set D=64 --set H=4 ;;
    Qwen3*) same $example 24 $((2 * 2 * 16 * 2 * 16 * 2)) $example.remat $shape $heads --set E=16 ;;
    *) same $example 24 $((2 * 2 * 16 * 2 * 8 * 2)) $example.remat $shape $heads ;;
    esac
done

# each token of the text is run once: one attention a layer and token, but for those behind the window
counts() { sed -n "s/^$1  *\([0-9]*\) .*/\1/p" profile.txt; }
text bytes --sample 1 >got.txt
bytes/train --steps 2 --sample 16 --temperature 0 --save-dir sample.save --profile --quiet 2>profile.txt || fail "$(cat profile.txt)"
[ "$(counts attend_cached)" = $((16 * 2)) ] && [ -z "$(counts attend)" ] || fail "16 tokens: $(cat profile.txt)"
bytes/train --steps 2 --sample 20 --temperature 0 --save-dir sample.save --profile --quiet 2>profile.txt || fail "$(cat profile.txt)"
[ "$(counts attend_cached)" = $((16 * 2)) ] && [ "$(counts attend)" = $((4 * 2)) ] || fail "20 tokens: $(cat profile.txt)"

# -- without: what cannot be done, and what does not fit; the plan says so, and the text is the same --
sed 's/, causal)/)/' "$spec" >open.remat
expect 0 "$rematc" plan open.remat $small
grep -qF "  sampling        32 tokens again for each token: attend 'h.0.layer.attend' is not causal" stdout.txt || fail "$(cat stdout.txt)"
# of much frozen weight little is in memory for training; keys and values of all layers are more
deep() { # VERB OPTIONS...
    verb=$1
    shift
    "$rematc" "$verb" "$spec" --set D=32 --set L=16 --set H=1 --set B=1 --set T=256 --set tokens_per_step=256 \
        --set train=corpus.txt --set "adapt=lora(rank = 1)" "$@"
}
expect 0 deep plan --budget 1GiB --json
grep -q '"sampling_by_token"' stdout.txt || fail "no cache in 1 GiB: $(cat stdout.txt)"
least=$(whole_least "$spec" --set D=32 --set L=16 --set H=1 --set B=1 --set T=256 --set tokens_per_step=256 \
    --set train=corpus.txt --set "adapt=lora(rank = 1)")
expect 0 deep plan --budget "${least}B"
grep -q '^  sampling        256 tokens again for each token: keys and values would make the peak ' stdout.txt || fail "$(cat stdout.txt)"
expect 0 deep build --budget 1GiB -o large --quiet
expect 0 deep build --budget "${least}B" -o least --quiet
if grep -q '^    \.step = ' least/train.c; then fail "a cache that does not fit"; fi
text large --sample 10 >got.txt
text least --sample 10 | cmp - got.txt || fail "another text at the smallest budget"
[ "$(json_int planned_bytes sample.jsonl)" -le "$least" ] || fail "over the budget"
echo ok
