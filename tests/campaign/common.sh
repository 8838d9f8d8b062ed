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
# references NAME STEPS OPTIONS...: trains the whole run of `program`; every step's checkpoint is left in NAME/, its
# log's essence in NAME.log
references() {
    reference=$1 reference_steps=$2
    shift 2
    mkdir -p "$reference"
    for step in $(seq "$reference_steps"); do
        program/train --quiet --sample 0 --save-dir "$reference.run" --steps "$step" --log "$reference.jsonl" "$@" >/dev/null
        cp "$reference.run/$(checkpoint "$step")" "$reference/"
    done
    rm -r "$reference.run"
    program/train --quiet --sample 0 --save-dir "$reference.run" --log "$reference.whole.jsonl" "$@" >/dev/null
    cmp "$reference.run/$(checkpoint "$step")" "$reference/$(checkpoint "$step")" ||
        fail "stopping at every step changes the bits"
    essence "$reference.whole.jsonl" >"$reference.log"
    essence "$reference.jsonl" | cmp -s - "$reference.log" || fail "stopping at every step changes the log"
}
checkpoint() {
    printf 'step-%06d.safetensors' "$1"
}
