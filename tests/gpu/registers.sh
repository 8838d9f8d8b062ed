#!/bin/sh
# registers.sh LOG OBJECTS TABLE: what ptxas -v said of the kernels in LOG (nvcc for sm_80 and sm_90, some of them twice), beside TABLE:
# registers and shared bytes of every kernel, which only a change on purpose changes (REMAT_UPDATE=1 writes TABLE anew).
# None may spill, what is on tensor cores has no local memory at all. With cuobjdump and nvdisasm (PyPI: nvidia-cuda-cuobjdump and
# nvidia-cuda-nvdisasm) the machine code in OBJECTS is read too: attention on tensor cores and products with
# 4-bit weights have HMMA in every kernel and no local load or store, and every element-wise kernel but those for odd rows, an element at a time, loads 16 bytes.
# Registers are one compiler's: with another release than TABLE's they are not compared.
set -eu
log=$1 objects=$2 table=$3
release=$("${NVCC:-nvcc}" --version | sed -n 's/.* V\([0-9.]*\)$/\1/p')

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

! grep -E '[1-9][0-9]* bytes spill' "$log" || fail "a kernel spills registers"
# kernel, architecture, registers, shared bytes, bytes of the stack
awk '/Compiling entry function/ { split($0, part, "\047"); name = part[2]; arch = part[4] }
     /bytes stack frame/ { stack = $1 }
     / Used [0-9]+ registers/ {
         shared = 0
         for (i = 1; i <= NF; i++) { if ($i == "registers,") registers = $(i - 1); if ($i ~ /^smem/) shared = $(i - 2) }
         print name, arch, registers, shared, stack
     }' "$log" | sort -u >"$log.kernels"
kernels=$(cut -d ' ' -f 1 "$log.kernels" | sort -u | wc -l)
[ "$kernels" -ge 100 ] && [ "$(wc -l <"$log.kernels")" = $((2 * kernels)) ] || fail "$log has $kernels kernels, not each of them twice"
local=$(awk '$1 ~ /attend|packed_product/ && $5 > 0 { print $1, $2 }' "$log.kernels")
[ -z "$local" ] || fail "what is on tensor cores has local memory: $local"

{
    echo "# Registers and shared bytes of every kernel, for sm_80 and for sm_90, by nvcc $release; made by registers.sh"
    awk '{ at[$1] = at[$1] sprintf("%4d %6d", $3, $4) ($2 == "sm_80" ? "  " : "") } END { for (k in at) print at[k] "  " k }' \
        "$log.kernels" | c++filt | LC_ALL=C sort -k 5
} >"$log.table"
if [ "${REMAT_UPDATE:-}" = 1 ]; then
    cp "$log.table" "$table"
elif [ "$(head -n 1 "$log.table")" != "$(head -n 1 "$table")" ]; then
    echo "registers: nvcc $release is not the table's: not compared"
else
    diff "$table" "$log.table" >&2 || fail "kernels take other registers than $table says: on purpose? REMAT_UPDATE=1"
    echo "registers: $kernels kernels as in the table"
fi

if ! command -v cuobjdump >/dev/null || ! command -v nvdisasm >/dev/null; then
    echo "skip: no cuobjdump and nvdisasm here: machine code was not read"
    exit 0
fi
# counts OBJECT ARCH: a line a kernel: products, local loads and stores, loads of 16 bytes, its name
counts() {
    cuobjdump -sass -arch "$2" "$objects/$1.o" | awk '
        /Function :/ { name = $3; products[name] = slow[name] = wide[name] = 0 }
        / HMMA/ { products[name]++ }
        / (LDL|STL)/ { slow[name]++ }
        / LDG[.A-Z0-9]*\.128/ { wide[name]++ }
        END { for (name in products) print products[name], slow[name], wide[name], name }'
}
for arch in sm_80 sm_90; do
    for of in 'attention_mma attend_mma 10' 'matmul_packed packed_product 4'; do
        # shellcheck disable=SC2086
        set -- $of
        counts $1 $arch | grep "$2" >"$log.sass"
        [ "$(wc -l <"$log.sass")" -ge $3 ] || fail "$arch: $1 has only the kernels $(cat "$log.sass")"
        wrong=$(awk '!$1 || $2' "$log.sass")
        [ -z "$wrong" ] || fail "$arch: $1 without HMMA, or with local memory: $wrong"
    done
    counts elem $arch | grep -E 'map_kernel|map_rows_kernelILi[2-9]' >"$log.sass"
    [ "$(wc -l <"$log.sass")" -ge 20 ] || fail "$arch: only these element-wise kernels: $(cat "$log.sass")"
    wrong=$(awk '!$3' "$log.sass")
    [ -z "$wrong" ] || fail "$arch: element-wise kernels without a load of 16 bytes: $wrong"
done
echo "machine code: attention and products with 4-bit weights have HMMA in every kernel and no local memory, element-wise kernels load 16 bytes"
