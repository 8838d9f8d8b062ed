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
    grep -qF "$1" stdout.txt stderr.txt || { cat stdout.txt stderr.txt >&2; fail "not said: $1"; }
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
