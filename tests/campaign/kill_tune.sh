#!/bin/sh
# kill_tune.sh REMATC SOURCE WORK: measuring is ended by SIGKILL at random moments, REMAT_CAMPAIGN_KILLS (100) times in
# all, and started again each time until it comes to its end; then from nothing. Whatever is left is a profile, what was
# measured is not measured again, and the end has the records of the run that nobody ended.
# REMAT_CAMPAIGN_SEED (1) chooses the moments.
. "$(dirname "$0")/common.sh"
kills=${REMAT_CAMPAIGN_KILLS:-100} seed=${REMAT_CAMPAIGN_SEED:-1}
corpus
"$rematc" tune "$tiny" --emit --folder tuner --force >/dev/null
make -C tuner >/dev/null
names() { sed -n 's/^\([tw][a-z]*\) [^ ]* \(.*\) : p10_us=.*/\1 \2/p' "$1"; }
measure() { tuner/tune -o "$1" --each 0.01 >/dev/null 2>&1; }
measure whole.profile || report "the whole run: exit $?"
names whole.profile >whole.names
[ "$(wc -l <whole.names)" -gt 20 ] || report "only $(wc -l <whole.names) operations"
awk -v seed="$seed" -v count=$((kills * 4)) 'BEGIN { srand(seed); for (i = 0; i < count; i++) printf "%.4f\n", 0.02 + 0.5 * rand() }' \
    >moments.txt

ended=0 finished=0
rm -f cut.profile
while [ "$ended" -lt "$kills" ] && read -r moment; do
    before=0
    [ -f cut.profile ] && before=$(names cut.profile | wc -l)
    code=0
    timeout -s KILL "$moment" tuner/tune -o cut.profile --each 0.01 >/dev/null 2>&1 || code=$?
    case $code in
    0)
        names cut.profile >cut.names
        cmp -s whole.names cut.names || report "ended after $ended: other operations than those of the whole run"
        finished=$((finished + 1))
        rm -f cut.profile
        continue
        ;;
    137) ended=$((ended + 1)) ;;
    *) report "exit $code" ;;
    esac
    [ -f cut.profile ] || continue
    "$rematc" plan "$tiny" --profile cut.profile >/dev/null 2>plan.txt || [ "$before" = 0 ] ||
        report "what was left is no profile: $(cat plan.txt)"
    now=$(names cut.profile | wc -l)
    [ "$now" -ge "$before" ] || report "of $before times $now were left"
    names cut.profile | sort | uniq -d | grep -q . && report "an operation stands twice"
done <moments.txt
left=$(find . -maxdepth 1 -name '.cut.profile.*.tmp' | wc -l)
[ "$left" -le "$ended" ] || report "$left files beside it after $ended kills"
[ "$finished" -gt 0 ] || report "no run came to its end"
verdict "$ended measurements of $(wc -l <whole.names) operations killed, $finished came to their end"
