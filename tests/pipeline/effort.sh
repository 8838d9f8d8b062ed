#!/bin/sh
# effort.sh REMATC SOURCE_DIR WORK_DIR: the numbers that bound searches, and what --stats says of them.
set -eu
[ $# = 3 ] || exit 2
rematc=$(realpath "$1") source_dir=$(realpath "$2")
mkdir -p "$3"
cd "$3"
fail() {
    echo "effort.sh: $*"
    exit 1
}

# ---- each row is a constant that some source uses, within its range ----
rows=$(sed -n 's/^EFFORT(\([A-Z_0-9]*\),.*/\1/p' "$source_dir/planner/effort.def")
[ "$(echo "$rows" | wc -l)" -gt 50 ] || fail "effort.def has few rows"
[ -z "$(echo "$rows" | sort | uniq -d)" ] || fail "two rows have one name"
cat $(find "$source_dir/planner" "$source_dir/frontend" -name '*.[ch]') >sources
for row in $rows; do
    grep -qw "EFFORT_$row" sources || fail "nothing uses EFFORT_$row"
done
echo '#include "planner/effort.h"
int swings[EFFORT_SEARCH_SWINGS + 1];' >effort.c
compiles() { "${CC:-cc}" -std=gnu11 -fsyntax-only -I "$source_dir" "$@" effort.c 2>errors; }
compiles || fail "effort.h does not compile: $(head -3 errors)"
compiles -DEFFORT_CHANGED=EFFORT_ROW_SEARCH_SWINGS -DEFFORT_CHANGED_VALUE=0 || fail "another value does not compile"
compiles -DEFFORT_CHANGED=EFFORT_ROW_SEARCH_SWINGS -DEFFORT_CHANGED_VALUE=1000 && fail "1000 swings are out of range"
grep -q 'SEARCH_SWINGS is out of its range' errors || fail "the range is not named: $(head -3 errors)"

# ---- --stats: the same answer, and the phases that ran on stderr ----
spec=$source_dir/examples/bytes-gpt.remat
cat >dag.json <<'E2'
{"nodes": [{"id": 0, "cost_cpu": 1, "cost_ram": 4}, {"id": 1, "cost_cpu": 1, "cost_ram": 4},
 {"id": 2, "cost_cpu": 1, "cost_ram": 4}, {"id": 3, "cost_cpu": 1, "cost_ram": 4}],
 "links": [{"source": 0, "target": 1}, {"source": 1, "target": 2}, {"source": 0, "target": 3},
 {"source": 2, "target": 3}], "directed": true, "multigraph": false, "graph": {}}
E2
printf 'id,lower,upper,size\na,0,2,4\nb,1,3,4\nc,2,4,4\n' >buffers.csv
same() { # PHASES ARGS...
    phases=$1
    shift
    "$rematc" "$@" >without 2>nothing || fail "$* exits with $?"
    "$rematc" "$@" --stats >with 2>table || fail "$* --stats exits with $?"
    grep -v 'seconds": \|solved in' without >without.same || :
    grep -v 'seconds": \|solved in' with >with.same || :
    cmp -s without.same with.same || fail "$*: --stats changes the answer"
    grep -q phase nothing && fail "$* prints a table that nobody asked for"
    for phase in $phases; do
        grep -q "^ *$(echo "$phase" | tr _ ' ') .* [0-9]" table || fail "$* --stats has no '$phase': $(cat table)"
    done
}
same "plans_and_smallest_budgets search_for_a_front chain_of_blocks packing_of_a_plan bound_of_one_instant
 replays,_in_all_of_these in_all" \
    plan "$spec" --budget 32MiB
same "schedules in_all" solve dag.json --budget 12
same "first_fit in_all" pack buffers.csv
echo "effort: $(echo "$rows" | wc -l) rows, and the tables of plan, solve and pack"
