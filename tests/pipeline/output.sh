#!/bin/sh
# What rematc writes never destroys what it did not write, and arrives whole or is an error.
. "$(dirname "$0")/common.sh"
unset OBJ
hashes() { find "$1" -type f ! -name '*.tmp' -exec cksum {} + | sort; }
refused() { # refused NAME...: the last call named these, and touched nothing in folder `at`
    for name; do grep -q "$name" stderr.txt || { cat stderr.txt >&2; fail "$name is not named"; }; done
    grep -q -- '--force' stderr.txt || fail "no help"
    hashes "$at" | cmp - before || fail "$at was touched"
}

# -- folders: someone's own --
at=own
mkdir -p own/kernels
echo 'all: ; @echo mine' >own/Makefile
echo mine | tee own/train.c >own/train.cu
echo mine | tee own/kernels/elem.c >own/train
hashes own >before
expect 6 "$rematc" emit "$spec" $small -o own; refused Makefile train.c kernels/elem.c 'train;'
grep -q 'train.cu' stderr.txt && fail "train.cu would not be replaced"
(cd own && expect 6 "$rematc" emit "$spec" $small -o . && mv stdout.txt stderr.txt ..); refused Makefile
expect 6 "$rematc" build "$spec" $small -o own --quiet; refused Makefile
expect 0 "$rematc" emit "$spec" $small -o own --force
[ "$(cat own/train.cu)" = mine ] || fail "--force took what is not replaced"
grep -q mine own/Makefile own/kernels/elem.c && fail "--force did not replace"
# -- folders: its own, unchanged, changed, of the other target --
at=folder
mkdir folder
cuda="--target cuda --device h100 --budget 8GiB"
expect 0 "$rematc" emit "$spec" $small -o folder
expect 0 "$rematc" emit "$spec" $small --set B=2 -o folder
expect 0 "$rematc" emit "$spec" $small $cuda -o folder
{ [ -f folder/train.cu ] && [ ! -e folder/train.c ] && [ ! -e folder/runtime/device_host.c ]; } || fail "not the program for CUDA"
expect 0 "$rematc" emit "$spec" $small -o folder
{ [ -f folder/train.c ] && [ ! -e folder/train.cu ] && [ ! -e folder/runtime/device_cuda.c ]; } || fail "not the program for the host"
find folder -name '*.cu' | grep . && fail "kernels of the other target"
expect 0 "$rematc" emit "$spec" $small --set B=2 -o fresh
echo '/* edited */' >>folder/train.c
echo '/* edited */' >>folder/kernels/kernels.h
hashes folder >before
expect 6 "$rematc" emit "$spec" $small --set B=2 -o folder; refused train.c kernels/kernels.h
grep -q Makefile stderr.txt && fail "the Makefile is as it was written"
expect 6 "$rematc" emit "$spec" $small $cuda -o folder; refused kernels/kernels.h
expect 0 "$rematc" emit "$spec" $small $cuda -o folder --force
grep -q edited folder/train.c || fail "an edited file of the other target was removed"
expect 6 "$rematc" emit "$spec" $small -o folder; grep -q 'train.c' stderr.txt || fail "the edited file is not named"
expect 0 "$rematc" emit "$spec" $small --set B=2 -o folder --force
diff -r folder fresh || fail "a folder used again differs from a new one"
# -- a folder without a manifest, an untrue manifest, links, what is no file --
rm folder/rematc.manifest
expect 0 "$rematc" emit "$spec" $small --set B=2 -o folder # nothing would change
rm folder/rematc.manifest
hashes folder >before
expect 6 "$rematc" emit "$spec" $small -o folder; refused train.c
echo mine >precious
{ cat fresh/rematc.manifest; for path in ../precious "$work/precious" kernels/../../precious; do
    sed -n "s, Makefile\$, $path,p" fresh/rematc.manifest; done; } >folder/rematc.manifest
cp fresh/Makefile precious
expect 0 "$rematc" emit "$spec" $small -o folder
cmp precious fresh/Makefile || fail "a manifest led out of its folder"
echo mine >folder/rematc.manifest
hashes folder >before
expect 6 "$rematc" emit "$spec" $small -o folder; refused rematc.manifest
expect 0 "$rematc" emit "$spec" $small -o folder --force
cp folder/train.c elsewhere.c
rm folder/train.c
ln -s ../elsewhere.c folder/train.c
cp -r folder/kernels elsewhere
rm -r folder/kernels
ln -s ../elsewhere folder/kernels
hashes elsewhere >before.elsewhere
hashes folder >before
expect 6 "$rematc" emit "$spec" $small --set B=2 -o folder; refused train.c kernels
expect 0 "$rematc" emit "$spec" $small --set B=2 -o folder --force
{ [ ! -L folder/train.c ] && [ ! -L folder/kernels ]; } || fail "links stayed"
hashes elsewhere | cmp - before.elsewhere || fail "--force wrote through a link"
diff -r folder fresh || fail "--force left a folder that differs"
ln -s folder link
expect 0 "$rematc" emit "$spec" $small -o link; [ -L link ] || fail "the folder's link was replaced"
rm folder/plan.json
mkdir folder/plan.json
expect 6 "$rematc" emit "$spec" $small -o folder --force; grep -q "plan.json' is in the way" stderr.txt || fail "not in the way"
rmdir folder/plan.json
mkfifo folder/plan.json
expect 6 timeout 20 "$rematc" emit "$spec" $small -o folder
rm folder/plan.json
# what the manifest lists where a folder was, and is none any more
sed -n 's, Makefile$, Makefile/x,p' fresh/rematc.manifest >>folder/rematc.manifest
expect 0 "$rematc" emit "$spec" $small --set B=2 -o folder
diff -r folder fresh || fail "a listed file that has no folder was not forgotten"
echo mine >plain
expect 6 "$rematc" emit "$spec" $small -o plain; [ "$(cat plain)" = mine ] || fail "a file for a folder"
# -- JSON of a path that is no UTF-8 --
latin=$(printf 'a\377\001"b').remat
cp "$spec" "$latin"
expect 0 "$rematc" emit "$latin" $small -o latin
"$4" latin/plan.json || fail "plan.json is no JSON"
for verb in check plan "plan --compare" "sweep --points 2"; do
    # shellcheck disable=SC2086
    expect 0 "$rematc" $verb "$latin" $small --json
    "$4" stdout.txt || fail "no JSON of $verb"
done
printf 'id,lower,upper,size\na,0,1,4\n' >a.csv
expect 6 "$rematc" pack a.csv --capacity 9 -o none/b.csv --json
"$4" stdout.txt || fail "a table that cannot be written is not one answer"
expect 1 "$rematc" check "$latin" --set H=7 --diagnostics json
"$4" stderr.txt || fail "no JSON of diagnostics"
# -- killed, or out of room, anywhere: the next call completes what was begun --
blocks=1
while [ $blocks -lt 512 ]; do
    rm -rf torn
    expect 0 "$rematc" emit "$spec" $small -o torn
    code=0
    (ulimit -f $blocks; exec "$rematc" emit "$spec" $small $cuda -o torn) >stdout.txt 2>stderr.txt || code=$?
    [ $code = 6 ] || [ $code = 0 ] || fail "exit $code at $blocks blocks"
    find torn -name '*.tmp' | grep . && fail "half a file stayed"
    expect 0 "$rematc" emit "$spec" $small --set B=2 -o torn
    diff -r torn fresh || fail "a torn folder was not completed"
    blocks=$((blocks * 2))
done
for n in 1 2 3 5 8 13 21 34 55 89; do
    rm -rf torn
    expect 0 "$rematc" emit "$spec" $small -o torn
    "$rematc" emit "$spec" $small $cuda -o torn >/dev/null 2>&1 &
    child=$!
    sleep 0.$(printf %03d $((n * 3)))
    kill -9 $child 2>/dev/null || :
    wait $child 2>/dev/null || :
    expect 0 "$rematc" emit "$spec" $small --set B=2 -o torn
    find torn -name '.*.tmp' -delete
    diff -r torn fresh || fail "a killed folder was not completed"
done
# -- the input as output, by every name --
cp "$spec" s.dot
ln s.dot hard.dot
ln -s s.dot soft.dot
ln a.csv b.csv
for name in s.dot hard.dot soft.dot ./s.dot; do expect 2 "$rematc" graph s.dot -o $name; done
for name in a.csv b.csv; do expect 2 "$rematc" pack a.csv -o $name; done
cmp s.dot "$spec" || fail "the input was written over"
mkdir input
cp "$spec" input/train.c
cp "$spec" input/Makefile
for force in '' --force; do
    expect 2 "$rematc" emit input/train.c $small -o input $force
    expect 2 "$rematc" emit input/Makefile $small -o input $force
done
expect 2 "$rematc" emit input/train.c $small -o input/train.c
cmp input/train.c "$spec" || fail "the input was written over"
# -- what is no file is written to; links are followed, modes kept --
mkfifo pipe
for verb in 'pack a.csv' "graph $spec $small --format dot"; do
    cat pipe >through &
    # shellcheck disable=SC2086
    expect 0 timeout 60 "$rematc" $verb -o pipe
    wait
    { [ -p pipe ] && [ -s through ]; } || fail "a FIFO was not written to: $verb"
done
"$rematc" graph "$spec" $small --format svg -o /dev/stdout | grep -q '</svg>' || fail "not through /dev/stdout"
if [ "$(id -u)" = 0 ] && mknod -m 666 null c 1 3 2>/dev/null; then
    expect 0 "$rematc" pack a.csv -o null
    [ -c null ] || fail "a device was replaced"
    rm null
fi
cp "$spec" held.remat
printf '\n\n' >>held.remat
chmod 600 held.remat
ln -s held.remat follow.remat
expect 0 "$rematc" fmt --write follow.remat
[ -L follow.remat ] || fail "a link was replaced"
[ "$(stat -c %a held.remat)" = 600 ] || fail "the mode was not kept"
"$rematc" fmt --check held.remat || fail "the file was not formatted"
# -- reading: no end, no file --
printf 'x' | cat - /dev/zero 2>/dev/null | head -c 3000000 >long.remat
expect 1 timeout 20 "$rematc" check long.remat; grep -q 'more than 1 MiB' stderr.txt || fail "no limit"
expect 1 timeout 20 "$rematc" check /dev/zero
expect 6 timeout 60 "$rematc" solve /dev/zero --budget 0.5; grep -q '256 MiB' stderr.txt || fail "no limit for solve"
expect 6 timeout 60 "$rematc" pack /dev/zero; grep -q '256 MiB' stderr.txt || fail "no limit for pack"
expect 0 "$rematc" check /dev/stdin <"$spec"
cat "$spec" | expect 0 "$rematc" check -
mkfifo spec.pipe
cat "$spec" >spec.pipe &
expect 0 timeout 20 "$rematc" check spec.pipe
expect 6 "$rematc" pack .; grep -q 'Is a directory' stderr.txt || fail "a folder as input"
# -- standard output: full or closed, for every verb --
printf '{"directed": true, "nodes": [{"id": 0, "cost_cpu": 1, "cost_ram": 1}], "links": []}' >one.json
while read -r words; do
    for to in '>/dev/full' '>&-'; do
        code=0
        eval "\"\$rematc\" $words $to" 2>stderr.txt || code=$?
        [ "$code" = 6 ] || { cat stderr.txt >&2; fail "exit $code, not 6: $words $to"; }
        grep -q 'standard output' stderr.txt || fail "no message: $words $to"
    done
done <<END
--help
--version
plan --help
check $spec
check $spec --json
plan $spec
plan $spec --json
plan $spec --compare
plan $spec --why h.0.*
dump $spec --stage layout
graph $spec --format dot -o -
emit $spec -o full
fmt $spec
explain E0312
devices
devices --json
sweep $spec --points 2
solve one.json --budget 1000
solve one.json --budget 1000 --json
pack a.csv
pack a.csv --json
pack a.csv -o -
END
# -- objects: a folder of someone, shared by two programs --
mkdir -p objects/own objects/kernels
echo mine | tee objects/own/file >objects/kernels/elem.o
cp -r objects objects.before
export OBJ="$work/objects"
expect 0 "$rematc" build "$spec" $small -o one --quiet
expect 0 "$rematc" build "$spec" $small --set B=2 -o two --quiet
touch "$(dirname "$(find objects -name norm.o)")/kept"
make -s -C one clean
{ [ ! -e one/train ] && [ ! -e one/train.o ] && [ -e two/train ]; } || fail "not this program's were removed"
[ "$(find objects -name kept -delete -print | wc -l)" = 1 ] || fail "clean took a file it did not make"
find objects -name runtime | grep . && fail "clean left an empty folder"
expect 0 make -s -C two
make -s -C two clean
make -s -C two clean
diff -r objects objects.before || fail "clean in a folder of objects is not what was made"
unset OBJ
expect 0 make -s -C one
make -s -C one clean
[ ! -e one/obj ] || fail "clean left its own folder"
# -- no compiler, no make: what to install; what fails for another reason is only said to fail --
export OBJ="$work/other"
mkdir bare
for tool in sh mkdir mv rm dirname realpath; do ln -s "$(command -v $tool)" bare/; done
expect 5 env PATH="$work/bare" "$rematc" build "$spec" $small -o one --quiet
grep -q 'no `make`' stderr.txt || fail "make is not named"
grep -q 'help: install one: .*apt install build-essential' stderr.txt || fail "nothing said on installing"
ln -s "$(command -v make)" bare/
expect 5 env PATH="$work/bare" "$rematc" build "$spec" $small -o one --quiet
grep -q 'no C compiler `cc`' stderr.txt || fail "cc is not named"
expect 5 env CC='nocc -m64' "$rematc" build "$spec" $small -o one --quiet
grep -q 'no C compiler `nocc`' stderr.txt || fail "nocc is not named"
expect 5 env NVCC="$work/nonvcc" "$rematc" build "$spec" $small $cuda -o gpu --quiet
grep -q "no CUDA compiler .$work/nonvcc" stderr.txt || fail "nonvcc is not named"
expect 5 env CFLAGS=--no-such-flag "$rematc" build "$spec" $small -o one --quiet
grep -q 'building one failed' stderr.txt || fail "no plain failure"
grep -q 'install' stderr.txt && fail "a wrong hint"
echo "nothing was lost"
