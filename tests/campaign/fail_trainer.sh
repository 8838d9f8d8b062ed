#!/bin/sh
# fail_trainer.sh REMATC SOURCE WORK SHIM [KIND...]: every REMAT_CAMPAIGN_STRIDE-th (1) system call and allocation of a
# trainer fails, once at its start and once as it resumes. It stops with a message and a code of the manual, or goes
# on; what was saved is there, bit for bit; and started again without a fault, it ends with the checkpoints and the
# log of the run that nothing happened to.
. "$(dirname "$0")/common.sh"
shim=$4
shift 4
stride=${REMAT_CAMPAIGN_STRIDE:-1}
corpus
head -c 20000 corpus.txt >part.txt && mv part.txt corpus.txt
"$rematc" build "$tiny" -o program --quiet >/dev/null
references whole 8
essence whole.jsonl | sed '/"step":[78],/d' >six.log
program/train --quiet --sample 0 --steps 4 --save-dir begun --log begun.jsonl >/dev/null

# A saved run that anything happened to: all checkpoints whole, and none older than all of $1
intact() {
    newest=0
    for path in saves/step-*.safetensors; do
        [ -f "$path" ] || continue
        cmp -s "$path" "whole/${path##*/}" || report "$attempt: ${path##*/} is torn or of other bits"
        step=${path##*/step-} step=${step%.safetensors}
        newest=$step
    done
    [ "$newest" -ge "$1" ] || report "$attempt: the checkpoint of step $1 is lost"
}

# try begun|fresh KIND N ERRNO HOW
try() {
    attempt="$*"
    rm -rf saves log.jsonl
    least=0
    if [ "$1" = begun ]; then
        cp -r begun saves
        cp begun.jsonl log.jsonl
        least=4
    fi
    code=0
    timeout -k 1 60 env LD_PRELOAD="$shim" FAIL_KIND="$2" FAIL_N="$3" FAIL_ERRNO="$4" FAIL_HOW="$5" \
        program/train --quiet --sample 0 --steps 6 --save-dir saves --log log.jsonl >stdout.txt 2>stderr.txt || code=$?
    case $code in
    0)
        cmp -s saves/step-000006.safetensors whole/step-000006.safetensors || report "$attempt: exit 0 without step 6"
        essence log.jsonl | cmp -s - six.log || report "$attempt: exit 0 with another log"
        ;;
    1) # the OpenMP runtime ends the program itself where it finds no memory
        grep -q '^libgomp: Out of memory' stderr.txt || report "$attempt: exit 1: $(tail -n 1 stderr.txt)"
        ;;
    3 | 6) [ -s stderr.txt ] || report "$attempt: exit $code without a word" ;;
    *) report "$attempt: exit $code: $(tail -n 1 stderr.txt)" ;;
    esac
    intact "$least"
    code=0
    program/train --quiet --sample 0 --save-dir saves --log log.jsonl >stdout.txt 2>again.txt || code=$?
    [ "$code" = 0 ] || report "$attempt: run again: exit $code: $(tail -n 1 again.txt)"
    intact 8
    essence log.jsonl | cmp -s - whole.log || report "$attempt: run again: another log"
    left=$(ls -A saves | tr '\n' ' ')
    [ "$left" = "$kept" ] || report "$attempt: run again: the folder has $left"
    attempts=$((attempts + 1))
}
kept="$(checkpoint 6) $(checkpoint 7) $(checkpoint 8) "

attempts=0
[ $# -gt 0 ] || set -- open read write sync rename unlink mkdir list lock close map truncate stat seek mode link control \
    pipe fork memory
for start in fresh begun; do
    rm -rf saves log.jsonl counts
    if [ $start = begun ]; then cp -r begun saves && cp begun.jsonl log.jsonl; fi
    LD_PRELOAD="$shim" FAIL_COUNT=counts program/train --quiet --sample 0 --steps 6 --save-dir saves --log log.jsonl
    for kind; do
        calls=$(sed -n "s/^$kind //p" counts)
        case $kind in # errors that such a call may meet, and ways in which it may fail
        open) ways='24:once 13:from' ;;
        read) ways='5:once 4:once 5:from 0:short' ;;
        write) ways='5:once 4:once 28:from 0:short' ;;
        rename | sync) ways='5:once 28:from 5:late' ;;
        map | memory) ways='12:once' ;;
        *) ways='5:once' ;;
        esac
        for way in $ways; do
            n=1
            while [ "$n" -le "$calls" ]; do
                try $start "$kind" "$n" "${way%:*}" "${way#*:}"
                n=$((n + stride))
            done
        done
        echo "$start: $kind: $calls calls"
    done
done
verdict "$attempts failing calls of a trainer"
