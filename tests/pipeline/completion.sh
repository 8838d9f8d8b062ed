#!/bin/sh
# What shells offer behind `rematc`: completion.sh REMATC SOURCE_DIR WORK_DIR. Each shell that is here is driven as far
# as it goes: bash through the function that it calls, zsh at a terminal, fish through `complete -C`.
. "$(dirname "$0")/common.sh"
mkdir -p models/deep bin
cp "$spec" models/one.remat
cp "$spec" one.remat
echo '{}' >one.json
cp "$spec" 'models/two words.remat'
echo '{}' >graph.json
echo 'device mine' >mine.device
ln -s "$rematc" bin/rematc
PATH=$work/bin:$PATH
export PATH
for shell in bash zsh fish; do "$rematc" completion $shell >rematc.$shell; done
expect 2 "$rematc" completion tcsh
grep -q "bash, zsh or fish, not 'tcsh'" stderr.txt || fail "no word of the shells there are"

# offers LINE WORDS...: asks `ask` for what may stand at the end of the line; all of the words, in any order
offers() {
    line=$1
    shift
    printf '%s\n' "$@" | sort >want.txt
    ask "$line" | sort -u >got.txt
    cmp -s want.txt got.txt || { diff want.txt got.txt >&2 || :; fail "$shell: completion of '$line'"; }
}
all() {
    offers 'rematc pl' plan
    offers 'rematc plan --pol' --policy
    # shellcheck disable=SC2046
    offers 'rematc plan --policy ' $(sed -n 's/^POLICY([A-Z_]*, "\([a-z-]*\)".*/\1/p' "$source_dir/planner/policy.def")
    offers 'rematc plan --policy offl' offload-blocks
    offers 'rematc fmt --' --write --check --diagnostics --help --version
    offers 'rematc dump --stage gra' graph grad
    offers 'rematc emit --target ' host cuda
    offers 'rematc graph --format p' png pdf
    offers 'rematc plan --device rtx6' rtx6000-ada
    offers 'rematc completion ' bash zsh fish
    offers 'rematc explain E070' E0701 E0702 E0703
    offers 'rematc help sw' sweep
    offers 'rematc solve gr' graph.json
    offers 'rematc check on' one.remat
    offers 'rematc plan --device mi' mine.device
}
# every verb and every option of it, as the tables have them
everything() {
    # shellcheck disable=SC2046
    offers 'rematc ' $("$rematc" help | sed -n 's/^  \([a-z]*\) .*/\1/p') "$@"
    for verb in $("$rematc" help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
        # shellcheck disable=SC2046
        offers "rematc $verb --" $("$rematc" "$verb" --help | sed -n 's/^  \(--[a-z-]*\).*/\1/p') --version
    done
}

driven=0
if command -v bash >/dev/null; then
    shell=bash
    cat >ask.bash <<'ASK'
source ./rematc.bash
line=$1
read -ra COMP_WORDS <<<"${line//=/ = }"
[[ $line == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_rematc
printf '%s\n' "${COMPREPLY[@]}"
ASK
    ask() { bash ask.bash "$1"; }
    all
    everything help --help --version
    offers 'rematc plan --policy=op' optimal
    offers 'rematc sweep --device h100,rtx6' h100,rtx6000-ada
    offers 'rematc check models/' models/one.remat 'models/two words.remat' models/deep
    offers 'rematc run models/one.remat -- mi' mine.device
    driven=$((driven + 1))
else
    echo "SKIPPED: no bash"
fi
if command -v fish >/dev/null; then
    shell=fish
    export HOME="$work" XDG_CONFIG_HOME="$work/config"
    ask() { fish --no-config -c 'source rematc.fish; complete -C "$argv[1]"' "$1" | cut -f 1; }
    all
    everything help
    offers 'rematc plan --policy=op' --policy=optimal
    offers 'rematc check models/o' models/one.remat
    driven=$((driven + 1))
else
    echo "SKIPPED: no fish"
fi
if command -v zsh >/dev/null && zsh -fc 'zmodload zsh/zpty' 2>/dev/null; then
    shell=zsh
    mkdir -p functions
    cp rematc.zsh functions/_rematc
    cat >ask.zsh <<'ASK'
# a shell at a terminal of its own, which prints what it offers; what is typed is echoed, so no echo looks like an answer
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1= fpath=($PWD/functions \$fpath) && autoload -U compinit && compinit -u -d $PWD/dump"
zpty -w shell "compadd() { local -a found; builtin compadd -O found \"\$@\"; print -rl -- \${found/#/offer:}; builtin compadd \"\$@\" }"
zpty -w shell "finish() { print end:; zle kill-whole-line }; zle -N finish; bindkey '^X' finish; print rea''dy:"
zpty -r -m shell text $'*ready:\r\n*'
zpty -n -w shell "$1"$'\t'$'\x18'
zpty -r -m shell text '*end:*'
print -r -- "$text" | tr -d '\r' | sed -n 's/.*offer:\([^ ]*\).*/\1/p'
zpty -d shell
ASK
    ask() { zsh -f ask.zsh "$1"; }
    all
    everything help
    offers 'rematc plan --policy=op' optimal
    driven=$((driven + 1))
else
    echo "SKIPPED: no zsh with zpty"
fi
[ "$driven" -gt 0 ] || fail "no shell was driven"
echo "$driven shells offered what there is"
