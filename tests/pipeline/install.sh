#!/bin/sh
# What `cmake --install` leaves works without the sources: rematc, its manual, examples, editors' files.
# install.sh REMATC SOURCE_DIR WORK_DIR BUILD_DIR CMAKE JSON_VALID
. "$(dirname "$0")/common.sh"
build=$4 cmake=$5 json_valid=$6
"$cmake" --install "$build" --prefix "$work/prefix" --strip >log.txt 2>&1 || { cat log.txt; fail "no installation"; }
share=$work/prefix/share

# -- all of it is there, and nothing is empty --
for file in bin/rematc share/man/man1/rematc.1 share/man/man5/remat.5 \
    share/bash-completion/completions/rematc share/zsh/site-functions/_rematc share/fish/vendor_completions.d/rematc.fish \
    share/vim/vimfiles/syntax/remat.vim share/vim/vimfiles/ftdetect/remat.vim share/remat/remat.tmLanguage.json \
    share/doc/remat/README.md share/doc/remat/CHANGELOG.md share/doc/remat/LICENSE share/doc/remat/docs/language.md \
    share/doc/remat/examples/bytes-gpt.remat share/doc/remat/examples/corpus.sh; do
    [ -s "prefix/$file" ] || fail "no $file"
done
for example in "$source_dir"/examples/*; do
    cmp "$example" "$share/doc/remat/examples/$(basename "$example")" || fail "not as it is: $example"
done
version=$(sed -n 's/^project(remat VERSION \([0-9.]*\).*/\1/p' "$source_dir/CMakeLists.txt")
[ "$("$work/prefix/bin/rematc" --version)" = "rematc $version" ] || fail "another version than $version"

# -- from an empty folder, the sources out of sight where this system lets us hide them --
cat >session.sh <<'SESSION'
set -eu
cd "$1"
PATH=$1/prefix/bin:$PATH
cp "$1/prefix/share/doc/remat/examples/bytes-gpt.remat" "$1/prefix/share/doc/remat/examples/corpus.sh" .
sh corpus.sh corpus.txt >corpus.log 2>&1
small="--set D=32 --set L=2 --set H=2 --set B=4 --set T=32 --set tokens_per_step=128"
rematc check bytes-gpt.remat
rematc plan bytes-gpt.remat --json >plan.json
rematc graph bytes-gpt.remat -o plan.svg
rematc emit bytes-gpt.remat --device h100 --budget 1GiB -o cuda
rematc build bytes-gpt.remat $small -o host --quiet
host/train --quiet --fresh --steps 2 --sample 0 --log run.jsonl
[ "$(grep -c '"loss"' run.jsonl)" = 2 ]
SESSION
mkdir empty
if [ -z "${CFLAGS:-}" ] && unshare -rm true 2>/dev/null; then
    moved=$(mktemp -d) # away from what is hidden
    cp -r prefix session.sh "$moved"
    unshare -rm sh -c 'mount -t tmpfs none "$1" && ! [ -e "$1/README.md" ] && exec sh "$2/session.sh" "$2"' sh \
        "$source_dir" "$moved" >session.log 2>&1 || { cat session.log; fail "the session without sources"; }
    rm -rf "$moved"
    echo "a session without the sources: fine"
else
    cp -r prefix session.sh empty
    sh empty/session.sh "$work/empty" >session.log 2>&1 || { cat session.log; fail "the session"; }
    echo "SKIPPED: the sources could not be hidden; the session ran beside them"
fi
# sanitizers and debuggers have names of their own
if [ -z "${CFLAGS:-}" ] && LC_ALL=C grep -q -F "$source_dir" prefix/bin/rematc; then fail "rematc names $source_dir"; fi

# -- the manual --
if command -v mandoc >/dev/null; then
    for page in man1/rematc.1 man5/remat.5; do
        # pages of ours that refer to each other are found where they are installed, which this folder is not
        mandoc -Tlint "$share/man/$page" | grep -v 'referenced manual not found: Xr remat' >lint.txt || :
        [ ! -s lint.txt ] || { cat lint.txt >&2; fail "mandoc about $page"; }
        mandoc -Tutf8 "$share/man/$page" | sed 's/.\x08//g' >"$(basename "$page").txt"
    done
    sed -n -e 's/^VERB([A-Z]*, \([a-z]*\),.*/     \1 /p' "$source_dir/frontend/verbs/verbs.def" >names.txt
    sed -n -e 's/^OPTION([A-Z]*, [a-z_]*, "\(-[^"]*\)".*/     \1/p' "$source_dir/frontend/driver/options.def" >>names.txt
    [ "$(wc -l <names.txt)" -gt 25 ] || fail "few verbs and options in the tables"
    while IFS= read -r name; do
        grep -q -e "^$name" rematc.1.txt || fail "rematc(1) has no $name"
    done <names.txt
    grep -q 'rmsnorm(x, "NAME", eps = 1e-5)' remat.5.txt || fail "remat(5) has no rmsnorm"
    echo "manual: fine"
else
    echo "SKIPPED: no mandoc: the manual was not read"
fi

# -- editors --
"$json_valid" "$share/remat/remat.tmLanguage.json" || fail "the TextMate grammar is no JSON"
if command -v vim >/dev/null && vim --version | grep -q '+syntax'; then
    cp "$spec" coloured.remat
    vim -u NONE -N -es "+set runtimepath^=$share/vim/vimfiles" "+filetype on" "+syntax on" "+edit coloured.remat" \
        "+redir! > colours.txt" \
        "+for word in ['dims', 'repeat', 'layernorm', '\"ln_1\"', '48MiB', '# '] | call cursor(1, 1) | call search('\\V' . word, 'c') | echo synIDattr(synID(line('.'), col('.'), 1), 'name') | endfor" \
        "+redir END" "+qall!" </dev/null >/dev/null 2>&1 || :
    [ "$(tr '\n' ' ' <colours.txt | xargs)" = "rematItem rematStatement rematCall rematString rematNumber rematComment" ] ||
        { cat colours.txt >&2; fail "vim's colours"; }
    echo "vim: fine"
else
    echo "SKIPPED: no vim with syntax: its file was not read"
fi
echo "installed and used"
