# Sourced by the pipeline tests: sh NAME.sh REMATC SOURCE_DIR WORK_DIR. Programs share one folder of objects.
set -eu
rematc=$1 source_dir=$2 work=$3
rm -rf "$work"
mkdir -p "$work"
cd "$work"
OBJ=$(dirname "$work")/pipeline-objects${REMAT_CFLAGS_NAME:-}
export OBJ
OMP_NUM_THREADS=2 OMP_WAIT_POLICY=passive # tests run side by side: do not spin
export OMP_NUM_THREADS OMP_WAIT_POLICY
spec=$source_dir/examples/bytes-gpt.remat
# a model small enough to train in a blink, with everything the large one has
small="--set D=32 --set L=4 --set H=2 --set B=4 --set T=32 --set tokens_per_step=256 --set train=corpus.txt"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
corpus() {
    [ -f corpus.txt ] || sh "$source_dir/examples/corpus.sh" corpus.txt
}
# expect CODE COMMAND...: the exit code, and no sign of a crash
expect() {
    want=$1
    shift
    got=0
    "$@" >stdout.txt 2>stderr.txt || got=$?
    [ "$got" = "$want" ] || { cat stdout.txt stderr.txt >&2; fail "exit $got, not $want: $*"; }
    if grep -qE '(Address|Thread)Sanitizer|runtime error:|LeakSanitizer' stderr.txt; then
        cat stderr.txt >&2
        fail "sanitizer report: $*"
    fi
}
# losses FILE.jsonl: step, loss and gradient norm of every training line
# header FILE, numbers FILE: of safetensors, the JSON and what stands behind it
header() { tail -c +9 "$1" | head -c "$(od -An -tu8 -N8 "$1" | tr -d ' ')" | sed 's/, /,/g'; }
numbers() { tail -c +$((9 + $(od -An -tu8 -N8 "$1" | tr -d ' '))) "$1"; }
losses() {
    sed -n 's/.*"step": *\([0-9]*\),.*"loss": *\([^,}]*\),.*"grad_norm": *\([^,}]*\).*/\1 \2 \3/p' "$1"
}
# whole_least SPEC OPTIONS...: the smallest budget of the graph without tiles, in bytes: a plan in tiles says what it is
whole_least() {
    least=$("$rematc" plan "$@" --json --budget 1GiB | json_int smallest_bytes /dev/stdin)
    "$rematc" plan "$@" --budget "${least}B" >least.txt
    sed -n 's/.*whole, the smallest budget would be \([0-9.]*\) \([KM]\)iB.*/\1 \2/p' least.txt |
        awk -v least="$least" '{ whole = int($1 * ($2 == "K" ? 1024 : 1048576)) } END { print whole ? whole : least }'
}
json_int() { # json_int KEY FILE: the first integer under that key
    sed -n "s/.*\"$1\": *\\([0-9][0-9]*\\).*/\\1/p" "$2" | head -n 1
}
