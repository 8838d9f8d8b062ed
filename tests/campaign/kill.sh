#!/bin/sh
# kill.sh REMATC SOURCE WORK: a trainer that saves every step is ended REMAT_CAMPAIGN_KILLS (300) times by SIGKILL and
# as often by SIGTERM, at random moments from its start on, and started again each time. Every checkpoint that is
# there is whole, the newest is never older than before, and whatever ends has the bits and the log of the
# uninterrupted run. REMAT_CAMPAIGN_SEED (1) chooses the moments.
. "$(dirname "$0")/common.sh"
kills=${REMAT_CAMPAIGN_KILLS:-300} seed=${REMAT_CAMPAIGN_SEED:-1} steps=60
corpus
head -c 20000 corpus.txt >part.txt && mv part.txt corpus.txt
"$rematc" build "$tiny" --set steps=$steps --set keep=1 -o keep1 --quiet >/dev/null
"$rematc" build "$tiny" --set steps=$steps -o keep3 --quiet >/dev/null
ln -s keep3 program
references whole $steps
awk -v seed="$seed" -v count=$((kills * 4)) 'BEGIN { srand(seed); for (i = 0; i < count; i++) printf "%.4f\n", 0.12 * rand() }' \
    >moments.txt

# newest: the step of the newest checkpoint; every one there is whole
look() {
    newest=0
    for path in saves/step-*.safetensors; do
        [ -f "$path" ] || continue
        cmp -s "$path" "whole/${path##*/}" || report "$1: ${path##*/} is torn or of other bits"
        newest=$(expr "${path##*/step-}" : '0*\([0-9]*\)') || true
    done
}

for signal in KILL TERM; do
    ended=0 finished=0 early=0 before=0
    rm -rf saves log.jsonl
    while [ "$ended" -lt "$kills" ] && read -r moment; do
        keep=$((finished % 2 * 2 + 1)) # keep 1, keep 3, keep 1, ...
        "keep$keep/train" --quiet --sample 0 --save-dir saves --log log.jsonl >/dev/null 2>stderr.txt &
        pid=$!
        sleep "$moment"
        kill -$signal $pid 2>/dev/null || true
        code=0
        wait $pid 2>/dev/null || code=$?
        look "$signal after $moment s"
        [ "$newest" -ge "$before" ] || report "$signal after $moment s: step $before was saved, $newest is left"
        before=$newest
        case $signal:$code in
        KILL:137 | TERM:75) ended=$((ended + 1)) ;;
        TERM:143) early=$((early + 1)) ended=$((ended + 1)) ;; # before the trainer catches signals
        *:0) ;;
        *) report "$signal after $moment s: exit $code: $(tail -n 1 stderr.txt)" ;;
        esac
        if [ $code = 0 ] || [ "$newest" = $steps ]; then
            code=0
            "keep$keep/train" --quiet --sample 0 --save-dir saves --log log.jsonl >/dev/null 2>stderr.txt || code=$?
            [ $code = 0 ] || report "run again after $signal: exit $code: $(tail -n 1 stderr.txt)"
            look "run again after $signal"
            [ "$newest" = $steps ] || report "run again after $signal: step $newest"
            essence log.jsonl | cmp -s - whole.log || report "run again after $signal: another log"
            left=$(ls -A saves | grep -v '^step-[0-9]*.safetensors$' || true)
            [ -z "$left" ] || report "run again after $signal: left behind: $left"
            finished=$((finished + 1)) before=0
            rm -rf saves log.jsonl
        fi
    done <moments.txt
    [ "$ended" = "$kills" ] || report "$signal: only $ended runs were ended"
    echo "SIG$signal: $ended runs ended, $early of them before signals are caught; $finished runs came to their end"
done
verdict "$kills runs killed and $kills stopped"
