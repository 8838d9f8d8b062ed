# Sourced by the campaigns: sh NAME.sh REMATC SOURCE_DIR WORK_DIR ... See ../pipeline/common.sh for what it sets.
. "$(dirname "$0")/../pipeline/common.sh"
OMP_NUM_THREADS=1 GOMP_SPINCOUNT=0
export OMP_NUM_THREADS GOMP_SPINCOUNT
tiny=$source_dir/tests/campaign/tiny.remat
bad=0
# report WORDS...: something that must not be; the campaign goes on and fails at its end
report() {
    bad=$((bad + 1))
    echo "BAD: $*"
    [ "$bad" -lt "${REMAT_CAMPAIGN_MOST_BAD:-40}" ] || fail "$bad attempts went wrong; the rest is left out"
}
verdict() { # WORDS...: the last line
    [ "$bad" = 0 ] || fail "$bad attempts went wrong: $*"
    echo "$*: nothing wrong"
}
# essence FILE.jsonl: what a log says that does not depend on the clock
essence() {
    [ -f "$1" ] || return 0
    sed -n -e '/"planned_step_seconds"/d' -e 's/,"step_seconds".*//' -e p "$1"
}
# references NAME COUNT OPTIONS...: trains the whole run of `program` and leaves every step's checkpoint in NAME/ and
# its log's essence in NAME.log
references() {
    name=$1 count=$2
    shift 2
    step=1
    mkdir -p "$name"
    while [ "$step" -le "$count" ]; do
        program/train --quiet --sample 0 --save-dir "$name.run" --steps "$step" --log "$name.jsonl" "$@" >/dev/null
        cp "$name.run/$(checkpoint $step)" "$name/"
        step=$((step + 1))
    done
    rm -r "$name.run"
    program/train --quiet --sample 0 --save-dir "$name.run" --log "$name.whole.jsonl" "$@" >/dev/null
    cmp "$name.run/$(checkpoint "$count")" "$name/$(checkpoint "$count")" || fail "stopping at every step changes the bits"
    essence "$name.whole.jsonl" >"$name.log"
    essence "$name.jsonl" | cmp - "$name.log" || fail "stopping at every step changes the log"
}
checkpoint() {
    printf 'step-%06d.safetensors' "$1"
}
