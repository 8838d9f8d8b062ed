#!/bin/sh
# The page of `report`: every number on it is that of `plan --json`, of plan.json, of the costs or of a trainer's log
# (report_page reads them all), it loads nothing, no name gets out of its place, and where nothing fits there is no page.
. "$(dirname "$0")/common.sh"
report_page=$4

# held SPEC OPTIONS...: the page says what the plan says
held() {
    "$rematc" plan "$@" --json >plan.json
    "$rematc" emit "$@" --force -o folder >/dev/null
    "$rematc" dump --stage cost "$@" >costs.txt
    expect 0 "$rematc" report "$@" --points 3 -o page.html
    grep -q '^page.html$' stdout.txt || fail "it does not say what it wrote"
    expect 0 "$report_page" page.html plan.json folder/plan.json costs.txt
    cat stdout.txt
}
# loads_nothing PAGE: a policy of hashes, and nothing with an address but places in the page itself
loads_nothing() {
    grep -q "content=\"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]*='; script-src 'sha256-[A-Za-z0-9+/]*='" "$1" ||
        fail "$1 has no content policy"
    if sed 's/xmlns="[^"]*"//' "$1" | grep -qE '(src|action|data)="|href="[^#]|url\([^#]|@import| style="| on[a-z]+="'; then
        fail "$1 has what would be loaded, or run"
    fi
}

held "$spec"
loads_nothing page.html
"$rematc" report "$spec" --points 3 -o - >again.html
cmp page.html again.html || fail "the same request, another page"
held "$spec" $small --budget 1500KiB
held "$spec" $small --set 'B=auto(1..4)' --budget 1500KiB
held "$spec" --budget 30MiB --set host=64MiB
grep -q 'id="copies"' page.html || fail "copies are not shown"
held "$source_dir/examples/qwen2-0.5b.remat" --set L=4
held "$source_dir/examples/llama3-8b-qlora.remat" --set L=2 --set 'B=auto(1..2)' --budget 6GiB
held "$spec" $small --policy every-block

# a mark of the chart is the plan of its budget and micro-batch
held "$spec" $small --set 'B=auto(1..4)' --budget 1500KiB
marks=0
for key in $(grep -o 'data-key="budget[.][0-9.]*seconds"' page.html | sed 's/.*budget.\([0-9]*\).\([0-9]*\).seconds"/\1.\2/' | sort -u); do
    batch=${key%.*} budget=${key#*.}
    "$rematc" plan "$spec" $small --set "B=auto($batch..$batch)" --budget "${budget}B" --json >mark.json
    seconds=$(sed -n 's/^  "seconds": \(.*\),/\1/p' mark.json)
    shown=$(grep -o "data-key=\"budget.$key.seconds\" data-value=\"[^\"]*" page.html | sed 's/.*"//')
    awk "BEGIN { exit !($seconds == $shown) }" || fail "B = $batch in $budget bytes: $shown on the page, planned $seconds"
    marks=$((marks + 1))
done
[ $marks -ge 6 ] || fail "only $marks plans over budgets"

# with a trainer's log
corpus
"$rematc" build "$spec" $small --budget 1500KiB -o program --quiet >/dev/null
program/train --steps 12 --fresh --quiet --sample 8 --log run.jsonl >/dev/null
"$rematc" plan "$spec" $small --budget 1500KiB --json >plan.json
"$rematc" dump --stage cost "$spec" $small --budget 1500KiB >costs.txt
expect 0 "$rematc" report "$spec" $small --budget 1500KiB --points 3 --log run.jsonl -o page.html
expect 0 "$report_page" page.html plan.json program/plan.json costs.txt run.jsonl
grep -q 'equal to the byte' page.html || fail "measured memory is not what was planned"
expect 0 "$rematc" report "$spec" $small --budget 2MiB --points 3 --log run.jsonl -o page.html
grep -q 'that of another plan' page.html || fail "another plan's log is taken for this one's"
head -c -9 run.jsonl >cut.jsonl # a trainer that was killed
expect 0 "$rematc" report "$spec" $small --budget 1500KiB --points 3 --log cut.jsonl -o page.html
rm page.html
sed '3s/.*/no line/' run.jsonl >bad.jsonl
expect 6 "$rematc" report "$spec" $small --budget 1500KiB --log bad.jsonl -o page.html
grep -q 'bad.jsonl:3: error: ' stderr.txt || fail "the wrong line is not named: $(cat stderr.txt)"
expect 6 "$rematc" report "$spec" $small --log missing.jsonl -o page.html
expect 6 "$rematc" report "$spec" $small --log corpus.txt -o page.html
[ ! -e page.html ] || fail "a page in spite of an error"

# where nothing fits, what a page cannot be
expect 3 "$rematc" report "$spec" --budget 20MiB -o page.html
expect 2 "$rematc" report "$spec" -o ''
cp "$spec" own.remat
expect 2 "$rematc" report own.remat -o own.remat
expect 6 "$rematc" report "$spec" $small --points 2 -o missing/page.html
[ ! -e page.html ] || fail "a page in spite of an error"
expect 0 "$rematc" report own.remat $small --points 2
[ -f own.html ] || fail "without -o it is not called after the file"

# names that would end a text, an attribute, a script or a line
evil="x<_script><script>alert(1)\"'&<!--.remat"
sed "s|\"mlp.fc\"|\"mlp.x</script><script>alert(1)</script>\\\\\"'\\&<!--\"|" "$spec" >"$evil"
grep -qF "\"mlp.x</script><script>alert(1)</script>\\\"'&<!--\"" "$evil" || fail "the name is not in the file"
expect 0 "$rematc" report "$evil" $small --budget 1500KiB --points 2 -o evil.html
grep -q 'alert(1)' evil.html || fail "the name is not on the page"
grep -qE '<script>alert|<!--' evil.html && fail "a name became markup"
[ "$(grep -o '<script' evil.html | wc -l)" = 3 ] || fail "other scripts than the page's own"
loads_nothing evil.html
