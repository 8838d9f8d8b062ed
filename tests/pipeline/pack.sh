#!/bin/sh
# The verb pack: tables in, offsets out, and what is said when there are none.
. "$(dirname "$0")/common.sh"
same() { # same FILE: its text is standard input
    cat >want.txt
    diff want.txt "$1" >&2 || fail "$1 differs"
}

# -- a table that fits exactly: three levels of four --
cat >five.csv <<'END'
id,lower,upper,size
b1,0,3,4
b2,3,9,4
b3,0,9,4
b4,9,21,4
b5,0,21,4
END
expect 0 "$rematc" pack five.csv --capacity 12 -o placed.csv
same stdout.txt <<'END'
five.csv: 5 buffers, 12 high, within 12
  live at once  12
  gap           0.000%, none can be lower
END
same placed.csv <<'END'
id,lower,upper,size,offset
b1,0,3,4,8
b2,3,9,4,8
b3,0,9,4,4
b4,9,21,4,4
b5,0,21,4,0
END
expect 0 "$rematc" pack five.csv -o -
same stdout.txt <placed.csv
expect 0 "$rematc" pack placed.csv --capacity 12 -o again.csv # offsets in the table are kept
same again.csv <placed.csv
expect 3 "$rematc" pack five.csv --capacity 11 -o never.csv
same stderr.txt <<'END'
rematc: no packing of five.csv within 11
note: proved impossible: 12 are live at once
END
[ ! -e never.csv ] || fail "a table was written without a packing"
expect 3 "$rematc" pack five.csv --capacity 11 --json
same stdout.txt <<'END'
{"buffers": 5, "answer": "impossible", "capacity": 11, "live": 12, "lower_bound": 12, "placements": 0}
END

# -- the bound cannot be reached: alignment leaves a hole --
cat >holes.csv <<'END'
id,lower,upper,size,alignment
a,0,2,3,4
b,0,2,3,4
c,1,5,1,4
d,4,6,7,1
END
expect 0 "$rematc" pack holes.csv
same stdout.txt <<'END'
holes.csv: 4 buffers, 9 high
  live at once  8
  gap           12.500%, proved: none is lower
END
expect 3 "$rematc" pack holes.csv --capacity 8
grep -q '^note: proved impossible, in [0-9]* placements$' stderr.txt || fail "the proof is not mentioned"
expect 0 "$rematc" pack holes.csv --capacity 9

# -- every column: inclusive ends, alignment, gaps, a fixed offset; any order of columns --
cat >all.csv <<'END'
size,buffer_id,start,end,gaps,alignment,offset
8,x,0,9,3-5,4,
8,y,3,5,,8,
2,low,0,9,,1,0
4,z,6,9,,,
END
expect 0 "$rematc" pack all.csv -o all-placed.csv
same all-placed.csv <<'END'
size,buffer_id,start,end,gaps,alignment,offset
8,x,0,9,3-5,4,4
8,y,3,5,,8,8
2,low,0,9,,1,0
4,z,6,9,,,12
END
same stdout.txt <<'END'
all.csv: 4 buffers, 16 high
  live at once  14
  gap           14.286%, proved: none is lower
END

# empty lifetimes and sizes, lines that end in CR LF
printf 'id,lower,upper,size\r\nq,5,5,8\r\nr,2,3,0\r\n' >rest.csv
expect 0 "$rematc" pack rest.csv --capacity 0

# -- wrong tables: the line, the reason --
wrong() { # wrong MESSAGE LINE...: the table's lines after the header
    message=$1
    shift
    { printf '%s\n' "$@"; } >wrong.csv
    expect 1 "$rematc" pack wrong.csv
    echo "wrong.csv:$message" | same stderr.txt
}
head='id,lower,upper,size'
: >wrong.csv
expect 1 "$rematc" pack wrong.csv
grep -q 'wrong.csv: error: the file is empty' stderr.txt || fail "an empty table"
wrong "1: error: there is no column 'size'" 'id,lower,upper'
wrong "1: error: unknown column 'sise'; did you mean 'size'?" 'id,lower,upper,sise'
wrong "1: error: 'upper' and 'end' are the same column" 'id,lower,upper,end,size'
wrong "3: error: 3 fields where the header has 4" "$head" a,0,1,2 b,0,1
wrong "2: error: size is a whole number of at most 52 bits, not '4x'" "$head" a,0,1,4x
wrong "2: error: upper is a whole number of at most 52 bits, not '99999999999999999999'" "$head" a,0,99999999999999999999,1
wrong "2: error: the lifetime of 'a' ends before it begins" "$head" a,5,4,1
wrong "2: error: the size of 'a' is negative" "$head" a,0,1,-4
wrong "4: error: 'a' is also in line 2" "$head" a,0,1,1 '' a,0,1,1
wrong "2: error: the id is empty" "$head" ,0,1,1
wrong "2: error: the alignment of 'a' is not between 1 and 2^32" "$head,alignment" a,0,1,1,0
wrong "2: error: gaps are written FROM-TO with blanks between, not '3:4'" "$head,gaps" a,0,9,1,3:4
wrong "2: error: the gap '3-12' of 'a' is not a span inside its lifetime" "$head,gaps" a,0,9,1,'1-2 3-12'
wrong "2: error: gaps of 'a' overlap" "$head,gaps" a,0,9,1,'3-5 1-4'
wrong "2: error: the offset of 'a' is no multiple of its alignment 8" "$head,alignment,offset" a,0,1,1,8,4
wrong "3: error: at their offsets 'b' and 'a' of line 2 share bytes" "$head,offset" a,0,2,4,0 b,1,3,4,2
head -c 3000 "$rematc" >wrong.csv
expect 1 "$rematc" pack wrong.csv
expect 6 "$rematc" pack absent.csv
expect 6 "$rematc" pack five.csv -o /proc/nowhere/out.csv
expect 2 "$rematc" pack five.csv --capacity many
expect 2 "$rematc" pack five.csv --budget 1GiB
expect 2 "$rematc" pack
