#!/bin/sh
# What is large, or made to take for ever: an answer within seconds and bounded memory, or what the limit is.
. "$(dirname "$0")/common.sh"

# quick SECONDS MEGABYTES CODE COMMAND...: within so much processor time and address space
slower=1
if grep -q __asan_init "$rematc"; then slower=15; fi
quick() {
    seconds=$1 megabytes=$2
    shift 2
    (
        ulimit -t $((seconds * slower))
        [ $slower -gt 1 ] || ulimit -v $((megabytes * 1024))
        expect "$@"
    ) || exit 1
}
says() { # says TEXT: on either stream
    grep -qF -e "$1" stdout.txt stderr.txt || { cat stdout.txt stderr.txt >&2; fail "not said: $1"; }
}

# -- pack: rows that are all alike, very many rows, gaps and offsets of many --
awk 'BEGIN { print "id,lower,upper,size,alignment"; for (i = 0; i < 3000; i++) print "b" i ",0,10,1,64" }' >equal.csv
quick 5 400 0 "$rematc" pack equal.csv
says "191937 high"
says "proved: none is lower"
quick 5 400 3 "$rematc" pack equal.csv --capacity 191936
says "proved impossible: aligned, what is live at once takes 191937"
awk 'BEGIN { print "id,lower,upper,size,alignment"; for (i = 0; i < 9000; i++) print "b" i ",0,10," 1 + i % 7 "," 32 * (1 + i % 2) }' >mixed.csv
quick 15 1500 0 "$rematc" pack mixed.csv
awk 'BEGIN { print "id,lower,upper,size,alignment"; for (i = 0; i < 300000; i++) print "b" i ",0,10,1,64" }' >many.csv
quick 30 3000 0 "$rematc" pack many.csv
says "19199937 high"
awk 'BEGIN { print "id,lower,upper,size,gaps"; for (i = 0; i < 30000; i++) { a = i * 7919 % 10000; print "b" i "," a "," a + 500 "," 1 + i % 999 "," a + 3 "-" a + 5 } }' >gaps.csv
quick 30 1500 0 "$rematc" pack gaps.csv
awk 'BEGIN { print "id,lower,upper,size,offset"; for (i = 0; i < 30000; i++) print "b" i ",0,10,1," i }' >offsets.csv
quick 5 400 1 "$rematc" pack offsets.csv
says "with offsets, a file has at most 10000 buffers, not 30000"

# -- many micro-batches: few are tried, and the same found as by trying all --
quick 20 1500 0 "$rematc" plan "$spec" --set 'B=auto(1..65536)' --budget 500MiB --json
[ "$(json_int batch stdout.txt)" = 77 ] || fail "B = $(json_int batch stdout.txt), where 77 is the fastest that fits"
quick 20 1500 0 "$rematc" plan "$spec" --set 'B=auto(1..1024)' --budget 100GiB --json
[ "$(json_int batch stdout.txt)" = 1024 ] || fail "B = $(json_int batch stdout.txt), where all fit and 1024 is the fastest"

# -- solve: numbers too large to add up, and the largest that are not --
graph() { # graph SECONDS BYTES: a chain of 40 whose backward half reads the forward half
    awk -v seconds="$1" -v bytes="$2" 'BEGIN {
        printf "{\"nodes\": ["
        for (i = 0; i < 40; i++) printf "%s{\"id\": %d, \"cost_cpu\": %s, \"cost_ram\": %s}", i ? ", " : "", i, seconds, bytes
        printf "], \"links\": ["
        for (i = 0; i < 39; i++) printf "%s{\"source\": %d, \"target\": %d}", i ? ", " : "", i, i + 1
        for (i = 0; i < 19; i++) printf ", {\"source\": %d, \"target\": %d}", i, 39 - i
        print "]}"
    }'
}
graph 9e99 17592186044416 >large.json # 40 times 2^44 bytes
quick 20 1500 0 "$rematc" solve large.json --budget 0.8
quick 20 1500 0 "$rematc" solve large.json --budget 1024TiB
quick 20 1500 3 "$rematc" solve large.json --budget 300
for budget in 999999999TiB 9223372036854775807 1e300; do
    quick 5 400 2 "$rematc" solve large.json --budget $budget
    says "--budget is at most 1024TiB, not '$budget'"
done
graph 1 4611686018427387904 >bytes.json
quick 5 400 1 "$rematc" solve bytes.json --budget 0.8
says "below 2^50"
graph 1e200 1 >seconds.json
quick 5 400 1 "$rematc" solve seconds.json --budget 0.8
says "below 1e100"

# -- deep models: thousands of layers, whether they fit or not; more than may be lowered --
deep="--set D=32 --set H=2 --set B=1 --set T=16"
# shellcheck disable=SC2086
quick 30 3000 3 "$rematc" plan "$spec" $deep --set L=2000 --budget 20MiB
says "no plan fits 20.00 MiB"
# shellcheck disable=SC2086
quick 5 400 1 "$rematc" check "$spec" $deep --set L=9000
says "more than 65536 operations"
# shellcheck disable=SC2086
quick 5 400 1 "$rematc" check "$spec" $deep --set L=100000
says "at most 10000 times"
