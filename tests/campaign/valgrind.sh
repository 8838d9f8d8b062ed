#!/bin/sh
# valgrind.sh REMATC SOURCE WORK: the verbs of rematc on small files, and a trainer built for processors that valgrind
# knows (REMAT_VALGRIND_CFLAGS), trained, resumed and sampled: no error, and nothing definitely lost but by Graphviz's
# libraries. Memory that is still reachable at the end is no error.
. "$(dirname "$0")/common.sh"
command -v valgrind >/dev/null 2>&1 || fail "valgrind is needed (Debian, Ubuntu: apt-get install valgrind)"
cflags=${REMAT_VALGRIND_CFLAGS:--O1 -g -march=x86-64-v3}
corpus
head -c 20000 corpus.txt >part.txt && mv part.txt corpus.txt

watch() { # CODE COMMAND...
    want=$1
    shift
    got=0
    valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        --suppressions="$source_dir/tests/campaign/valgrind.supp" "$@" >stdout.txt 2>stderr.txt || got=$?
    if [ "$got" != "$want" ]; then
        tail -n 60 stderr.txt
        report "exit $got, not $want: $*"
    fi
}

corpus_dir=$source_dir/tests/campaign/corpus
cp "$tiny" loose.remat
for verb in "check $tiny" "plan $tiny" "plan $tiny --json" "plan $tiny --compare" "dump $tiny --stage ast" \
    "dump $tiny --stage layout" "fmt $tiny" "fmt loose.remat --write" "emit $tiny -o emitted" "devices" "explain E0312" \
    "sweep $tiny --points 2 --json" "graph $tiny -o tiny.dot" "graph $tiny -o tiny.svg" \
    "solve $corpus_dir/nodelink/chain.json --budget 0.7 --json" "solve $corpus_dir/nodelink/names.json --budget 1.0" \
    "pack $corpus_dir/csv/all.csv --json" "pack $corpus_dir/csv/plain.csv -o packed.csv" "--help"; do
    # shellcheck disable=SC2086
    watch 0 "$rematc" $verb
    echo "rematc $verb"
done
for wrong in e0106_chain lower_e0207_shape; do
    watch 1 "$rematc" check "$source_dir/tests/cases/$wrong.remat" --diagnostics json
    echo "rematc check $wrong.remat"
done
watch 2 "$rematc" plan "$tiny" --set Z=3 --diagnostics json
watch 3 "$rematc" plan "$tiny" --budget 90KiB --json

OBJ=$work/objects make -s -C emitted CFLAGS="$cflags" LDFLAGS= train >/dev/null
OMP_NUM_THREADS=2
export OMP_NUM_THREADS
watch 0 emitted/train --steps 3 --save-dir saves --log log.jsonl --sample 8
watch 0 emitted/train --save-dir saves --log log.jsonl --sample 8 --poison
head -c 3000 "saves/$(checkpoint 8)" >torn && mv torn "saves/$(checkpoint 8)"
watch 0 emitted/train --save-dir saves --log log.jsonl --profile
watch 0 emitted/train --save-dir saves --fresh --steps 1
watch 6 emitted/train --data absent.txt
verdict "compiler and trainer under valgrind"
