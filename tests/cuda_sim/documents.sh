#!/bin/sh
# documents.sh REMATC SOURCE WORK: a whole CUDA program on the simulated device whose data are documents, in f32 and on
# tensor cores: two plans print the same losses, the host's are near. Without python3 there is no file of documents.
. "$(dirname "$0")/common.sh"
command -v python3 >/dev/null || { echo "no python3"; exit 77; }
data=$work/text.docs
python3 -B - "$source/docs" "$work/text.txt" "$data" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
from documents import write_documents
text = open(sys.argv[2], "rb").read()
cuts = [0]
while cuts[-1] < len(text): cuts.append(cuts[-1] + 2 + (len(cuts) * 7) % 23)
pieces = [text[a:b] for a, b in zip(cuts, cuts[1:])]
write_documents(sys.argv[3], [[(token, int(i % 4 != 1)) for i, token in enumerate(piece)] for piece in pieces])
END
shape="--set L=2 --set D=32 --set H=4 --set K=2 --set F=48 --set V=256 --set T=24 --set B=2 --set tokens_per_step=96"
shape="$shape --set train=$data --set validate=$data"
for type in f32 bf16; do
    sed -e "s/compute bf16/compute $type/; s/trained bf16/trained $type/; s/^budget.*//; /^weights/d" \
        -e 's/train "train.bin"/& documents/' "$source/examples/llama3-8b.remat" > "$work/$type.remat"
    emit_three $type
    grep -q 'RtDocumentInputs' "$work/$type-keep/train.cu" || fail "no inputs for documents"
    run_three $type
    losses_near $type $type-keep $type-host
done
# behind a prompt, and behind the window: the host writes the same, whose tests hold it to its whole window
for name in f32-keep f32-host; do
    rm -f "$work/text.jsonl"
    (cd "$work/$name" && ./train --data "$data" --save-dir "$work/out-$name" --steps 3 --sample 40 --temperature 0 --poison \
        --log "$work/text.jsonl") > "$work/$name.out" 2>&1 || fail "$(cat "$work/$name.out")"
    sed -n 's/.*"sample":\(.*\)/\1/p' "$work/text.jsonl" > "$work/$name.text"
    [ -s "$work/$name.text" ] || fail "$name: no text: $(cat "$work/text.jsonl")"
done
cmp "$work/f32-keep.text" "$work/f32-host.text" || fail "host and device write other texts"
echo ok
