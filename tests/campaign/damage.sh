#!/bin/sh
# damage.sh REMATC SOURCE WORK DAMAGE: REMAT_CAMPAIGN_DAMAGES (1000) times the newest checkpoint is damaged in some way
# and the trainer started. It goes on from the one before and ends with the bits of the uninterrupted run, or it stops
# with a message; the damaged file and the older ones are never lost.
. "$(dirname "$0")/common.sh"
damage=$4 count=${REMAT_CAMPAIGN_DAMAGES:-1000} seed=${REMAT_CAMPAIGN_SEED:-1}
corpus
head -c 20000 corpus.txt >part.txt && mv part.txt corpus.txt
"$rematc" build "$tiny" -o program --quiet >/dev/null
references whole 8
program/train --quiet --sample 0 --steps 6 --save-dir begun --log begun.jsonl >/dev/null
last=$(checkpoint 6)

passed=0 stopped=0 i=0
while [ "$i" -lt "$count" ]; do
    i=$((i + 1))
    rm -rf saves
    cp -r begun saves
    cp begun.jsonl log.jsonl
    number=$((seed * 1000000 + i))
    what="$number: $("$damage" "saves/$last" "begun/$(checkpoint 5)" "$number")"
    cp "saves/$last" damaged
    code=0
    timeout -k 1 60 program/train --quiet --sample 0 --save-dir saves --log log.jsonl >stdout.txt 2>stderr.txt || code=$?
    case $code in
    0)
        passed=$((passed + 1))
        cmp -s "saves/$(checkpoint 8)" "whole/$(checkpoint 8)" || report "$what: ends with other bits"
        essence log.jsonl | cmp -s - whole.log || report "$what: another log"
        ;;
    6) stopped=$((stopped + 1)) ;;
    *) report "$what: exit $code: $(tail -n 1 stderr.txt)" ;;
    esac
    grep -q "$last" stderr.txt || report "$what: nothing said of it"
    found=no
    for path in saves/*; do
        case ${path##*/} in
        *.damaged* | "$last") cmp -s "$path" damaged && found=yes ;;
        esac
        case ${path##*/} in
        "$last") ;;
        step-*.safetensors) cmp -s "$path" "whole/${path##*/}" || report "$what: ${path##*/} has other bits" ;;
        esac
    done
    [ $found = yes ] || report "$what: the damaged file is lost"
    [ $code = 0 ] || cmp -s "saves/$(checkpoint 5)" "whole/$(checkpoint 5)" || report "$what: the one before is lost"
done
verdict "$count damaged checkpoints: $passed passed over, $stopped refused"
