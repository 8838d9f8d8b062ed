#!/bin/sh
# solve.sh REMATC SOURCE FOLDER: the verb solve from the command line, its answers and its exit codes.
set -eu
rematc=$1
folder=$3
mkdir -p "$folder"
cd "$folder"

# 0 -> 1 -> 2 -> 3 and 0 -> 3: 12 bytes with everything kept, 9 when node 0 runs again
cat > graph.json <<'EOF'
{"directed": true, "graph": {},
 "nodes": [{"id": 0, "cost_cpu": 1, "cost_ram": 4}, {"id": 1, "cost_cpu": 2, "cost_ram": 4},
           {"id": 2, "cost_cpu": 4, "cost_ram": 4}, {"id": 3, "cost_cpu": 8, "cost_ram": 1}],
 "links": [{"source": 0, "target": 1}, {"source": 1, "target": 2}, {"source": 2, "target": 3}, {"source": 0, "target": 3}]}
EOF

# expect CODE TEXT ARGUMENTS...: exits with CODE and says TEXT
expect() {
    code=$1 text=$2
    shift 2
    status=0
    "$rematc" solve "$@" > out 2>&1 || status=$?
    if [ "$status" != "$code" ] || ! grep -q -e "$text" out; then
        echo "rematc solve $*: exit $status instead of $code, or no \"$text\" in:"
        cat out
        exit 1
    fi
}

expect 0 'sequence": \[0, 1, 2, 0, 3\]' graph.json --budget 9 --json
expect 0 '"peak": 9, "keep_all_peak": 12, "cost": 16, "keep_all_cost": 15' graph.json --budget 0.8 --json
expect 0 'sequence": \[0, 1, 2, 3\]' graph.json --budget 1.0 --json
expect 0 'nothing is faster within the budget' graph.json --budget 9B --time 1
expect 0 'reruns' - --budget 9 < graph.json
expect 3 'smallest budget found is 9 B' graph.json --budget 8
expect 3 'no schedule fits 0 B (0 bytes), 0.01 of the peak without recomputation' graph.json --budget 0.01
expect 2 'needs --budget' graph.json
expect 2 'takes bytes' graph.json --budget 1.5
expect 2 'takes bytes' graph.json --budget lots
expect 2 'takes seconds' graph.json --budget 9 --time -1
expect 2 'has no option' graph.json --budget 9 --policy none
expect 6 'cannot read' missing.json --budget 9
expect 6 'cannot read' . --budget 9
head -c 100 graph.json > short.json
expect 1 'short.json:2:.*not JSON' short.json --budget 9
: > empty.json
expect 1 'not JSON' empty.json --budget 9
head -c 4096 "$rematc" > binary.json
expect 1 'not JSON' binary.json --budget 9
sed 's/"source": 0, "target": 1/"source": 3, "target": 1/' graph.json > cycle.json
expect 1 'cycle.json: error: the links form a cycle' cycle.json --budget 9
if [ -e /dev/full ]; then
    status=0
    "$rematc" solve graph.json --budget 9 > /dev/full 2> out || status=$?
    [ "$status" = 6 ] || { echo "a full disk exits $status"; exit 1; }
fi
