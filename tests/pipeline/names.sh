#!/bin/sh
# Names of every sort, in files and in models, give programs that build and train; a folder emitted for another
# target in between builds what it should; two programs share the objects of one.
. "$(dirname "$0")/common.sh"
corpus
# -- weights called like words of C, like the runtime's notation, like a comment's end --
cat >names.remat <<'END'
language 1
dims { V = 256 D = 8 B = 2 T = 4 }
model m {
  x = embed(data.tokens, [V, D], "run")
  x = linear(x, [D, D], "F32", bias)
  x = x + linear(x, [D, D], "int")
  x = x + linear(x, [D, D], "tensors")
  x = x + linear(x, [D, D], "train_micro_step")
  x = x + linear(x, [D, D], "*/ #error \" \\ x /*")
  repeat i in 0..3 scope "int.{i}" {
    x = x + linear(x, [D, D], "linux")
    x = x + linear(x, [D, D], "F32")
    x = x + linear(x, [D, D], "layer", bias)
    x = x + linear(x, [D, D], "at.x")
    x = x + linear(x, [D, D], "*/ #error \" \\ x /*")
    x = x + linear(x, [D, D], "*/ #error . \\ x /*")
  }
  repeat i in 5..7 scope "a{i}.{i}" { x = x + linear(x, [D, D], "w") }
  repeat i in 0..2 scope "weights.{i}" { x = x + linear(x, [D, D], "w") }
  repeat i in 9..11 scope "weights {i}.*" { x = x + linear(x, [D, D], "w") }
  repeat i in 0..2 { x = x + gelu(x) }
  x = x + linear(x, [D, D], "x")
  loss = cross_entropy(linear(x, [V, D], "3 é?"), data.targets)
}
train { steps 2  optimizer adamw(lr = 1e-3)  seed 1 }
data { train "corpus.txt" bytes }
END
expect 0 "$rematc" build names.remat -o names --quiet
grep -qE 'warning|error' stderr.txt && { cat stderr.txt >&2; fail "the compiler of C complains"; }
expect 0 names/train --quiet --poison --save-dir names.save
for name in F32.bias int.0.F32.weight m.int.2.at.x.weight a5.5.w.weight "v.weights.1.w.weight" "weights 10.*.w.weight" x.weight; do
    grep -aqF "\"$name\":{" names.save/step-000002.safetensors || fail "the checkpoint has no tensor '$name'"
done
# -- files and folders --
folder="o d'\"#*
?"
mkdir "s*"
sed 's/seed 1/seed 2/' names.remat >"s*/na\"me '
#.remat"
mv corpus.txt "cor \"pus'#.txt"
expect 0 "$rematc" build "s*/na\"me '
#.remat" --set "train=cor \"pus'#.txt" -o "$folder" --quiet
expect 0 "$folder/train" --quiet --save-dir "sa've \"#/deep" --log "lo g'\".jsonl"
[ "$(losses "lo g'\".jsonl" | wc -l)" = 2 ] || fail "no two losses"
[ -f "sa've \"#/deep/step-000002.safetensors" ] || fail "no checkpoint"
mv "cor \"pus'#.txt" corpus.txt
# -- one folder for the host, for CUDA, and for the host again --
unset OBJ
expect 0 "$rematc" build names.remat -o both --quiet
expect 0 "$rematc" emit names.remat -o both --target cuda
[ ! -f both/train.c ] || fail "the host's program is still in a folder for CUDA"
touch both/train.o both/train
expect 0 "$rematc" build names.remat -o both --quiet
[ both/train -nt both/Makefile ] || [ both/train.o -nt both/Makefile ] || fail "the old program was taken for the new one"
expect 0 both/train --quiet
# -- a second program finds the objects of the first; an edit by hand is seen --
expect 0 "$rematc" emit names.remat -o second --set steps=1
make -n -C second OBJ="$work/both/obj" >commands.txt
grep -q ' train.c' commands.txt || fail "the second program is not compiled"
grep -q ' kernels/.*\.c' commands.txt && fail "the kernels are compiled again"
echo '/* edited */' >>second/kernels/elem.c
make -n -C second OBJ="$work/both/obj" | grep -q ' kernels/elem.c' || fail "an edit by hand goes unseen"
echo "names of every sort were borne"
