#!/bin/sh
# Every example of `rematc explain CODE` is answered with exactly that code: explain.sh REMATC SOURCE_DIR WORK_DIR.
# An example is a command, a whole file where it begins with `language` or is about the line that does, and otherwise
# lines that take their place in the file below: a dim in place of the one of its name, a section or another thing
# that stands once in place of the file's, a block or a line that may stand often beside the others, a statement in
# the model, or with `return` in a block of its own. In it, `...` stands for more of the same.
. "$(dirname "$0")/common.sh"
cat >base.txt <<'BASE'
language 1
dims { V = 256  D = 128  F = 512  L = 2  H = 4  E = D / H  B = 16  T = 128 }
block layer(x: [B, T, D]) -> [B, T, D] {
  h = layernorm(x, "ln_1")
  q, k, v = split(linear(h, [3*D, D], "attn.qkv", bias), 3)
  o = attend(q as [B, T, H, E], k as [B, T, H, E], v as [B, T, H, E], causal) as [B, T, D]
  x = x + linear(o, [D, D], "attn.proj", bias)
  h = gelu(linear(layernorm(x, "ln_2"), [F, D], "mlp.fc", bias))
  return x + linear(h, [D, F], "mlp.proj", bias)
}
model m {
  x = embed(data.tokens, [V, D], "wte") + positions([T, D], "wpe")
  repeat i in 0..L scope "h.{i}" { x = layer(x) }
  @SETUP
  logits = linear(layernorm(x, "ln_f"), [V, D], "lm_head")
  @STATEMENTS
  loss = cross_entropy(logits, data.targets)
}
train { steps 600  optimizer adamw(lr = 2e-3)  schedule cosine(warmup = 40, floor = 0.1) }
data { train "corpus.txt" bytes }
device host
budget 4GiB
BASE
# weave EXAMPLE: the base with the example in its place
weave() {
    awk -v setup="$(setup_of "$code")" '
        stage == 1 {
            word = $1
            if (word == "dims") {
                line = $0; sub(/#.*/, "", line); sub(/^dims *\{/, "", line); sub(/\} *$/, "", line)
                n = split(line, part, /  +/)
                for (i = 1; i <= n; i++) if (split(part[i], side, / *= */) > 1) { gsub(/ /, "", side[1]); dim[side[1]] = side[2] }
            } else if (word ~ /^(language|train|data|save|dtype|device|budget|host|maximize|weights)$/) {
                for (w in replaces) if (w == word) twice = 1
                replaces[word] = 1; item = item $0 "\n"
            } else if (word ~ /^(block|tie|init|keep|recompute|offload|adapt)$/) {
                item = item $0 "\n"
                if (word == "block") { name = $2; sub(/\(.*/, "", name); called = called "  x = " name "(x)\n"; blocks = blocks " " name }
            } else {
                statement = statement "  " $0 "\n"
                if (word == "return") returned = 1
                if (word == "loss") lost = 1
                for (i = split(blocks, known, " "); i > 0; i--) if (index($0, known[i] "(")) called = ""
            }
            next
        }
        $1 in replaces { next }
        $1 == "dims" {
            line = $0; sub(/^dims *\{ */, "", line); sub(/ *\} *$/, "", line)
            n = split(line, part, /  +/); line = "dims {"
            for (i = 1; i <= n; i++) {
                split(part[i], side, / *= */)
                if (side[1] in dim) { side[2] = dim[side[1]]; delete dim[side[1]] }
                line = line "  " side[1] " = " side[2]
            }
            for (name in dim) line = line "  " name " = " dim[name]
            print line " }"
            next
        }
        $1 == "@SETUP" { if (returned) called = called "  x = example(x)\n"; printf "%s", called; next }
        $1 == "@STATEMENTS" { if (!returned) printf "  %s\n%s", setup, statement; next }
        $1 == "loss" && lost { next }
        { print }
        END {
            printf "%s", item
            if (returned) printf "block example(x: [B, T, D]) -> [B, T, D] {\n%s}\n", statement
        }' stage=1 "$1" stage=2 base.txt
}
# what must stand before an example, that its reader takes for granted
setup_of() {
    case $1 in W0601) echo 'q = x as [B, T, H, E]  k = q  v = q' ;; esac
}
# the last statement makes the warned of value reach the loss
finish() {
    case $code in
    W0601) sed 's/^  loss = .*/  loss = cross_entropy(linear(o as [B, T, D], [V, D], "other") + logits, data.targets)/' ;;
    *) cat ;;
    esac
}
"$rematc" explain | sed 's/ .*//' >codes.txt
code=none
weave /dev/null >spec.remat # the file that commands of examples name
expect 0 "$rematc" check spec.remat
[ ! -s stderr.txt ] || { cat stderr.txt >&2; fail "the file that examples stand in"; }
printf 'GGUF\0\0\377' >model.safetensors

examples=0 bad=0 none=''
while IFS= read -r code; do
    "$rematc" explain "$code" | sed -n 's/^    //p' >example.txt
    if [ ! -s example.txt ]; then
        none="$none $code"
        continue
    fi
    case $code in # `...` written out
    E0106) awk 'BEGIN { while (i++ < 210) { left = left "("; right = right ")" } } { sub(/\.\.\./, left); sub(/\.\.\./, right); print }' example.txt >written.txt ;;
    E0116) awk 'BEGIN { while (i++ < 5000) more = more "a" } { sub(/\.\.\./, more); print }' example.txt >written.txt ;;
    *) cp example.txt written.txt ;;
    esac
    first=$(head -n 1 written.txt)
    verb=check
    case $code in E0701) verb=plan ;; esac
    case $first in
    rematc\ *)
        words=$(sed -e 's/^rematc //' -e 's/ *#.*//' written.txt)
        # shellcheck disable=SC2086
        "$rematc" $words --diagnostics json >out.txt 2>err.txt || :
        ;;
    *)
        case $code:$first in
        E0108:* | E0205:language*) cp written.txt woven.remat ;;
        *) weave written.txt | finish >woven.remat ;;
        esac
        "$rematc" $verb woven.remat --diagnostics json >out.txt 2>err.txt || :
        ;;
    esac
    answered=$(sed -n 's/.*"code": *"\([EW][0-9]*\)".*/\1/p' err.txt | sort -u | tr '\n' ' ')
    examples=$((examples + 1))
    [ "$answered" = "$code " ] && continue
    bad=$((bad + 1))
    echo "the example of $code is answered with: ${answered:-nothing}" >&2
    cat written.txt >&2
done <codes.txt
[ "$bad" = 0 ] || fail "$bad of $examples examples"
[ "$none" = " E0322" ] || fail "codes without an example:$none (E0322 is what no other code says)"
echo "$examples examples, each answered with its code"
