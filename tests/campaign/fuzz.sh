#!/bin/sh
# fuzz.sh SOURCE WORK [NAME...]: builds the libFuzzer harnesses in WORK and runs them (all, or those named) one after
# the other, REMAT_FUZZ_SECONDS each (600 when not given). Each starts from tests/campaign/corpus/NAME and keeps what
# it finds interesting in WORK/corpus/NAME. A table at the end; exit 1 when one of them reported something: then the
# input lies in WORK/findings.
set -eu
source=$1 work=$2
shift 2
seconds=${REMAT_FUZZ_SECONDS:-600}
clang=${CLANG:-$(command -v clang || ls /usr/bin/clang-[0-9]* 2>/dev/null | head -n 1 || true)}
if [ -z "$clang" ]; then
    echo "fuzz: clang is needed (Debian, Ubuntu: apt-get install clang; with version 14, libclang-rt-14-dev as well)" >&2
    exit 1
fi
mkdir -p "$work/findings"
printf 'int LLVMFuzzerTestOneInput(const char *bytes, unsigned long count) { return bytes && !count; }\n' >"$work/probe.c"
if ! "$clang" -fsanitize=fuzzer,address,undefined "$work/probe.c" -o "$work/probe" 2>"$work/probe.log"; then
    version=$("$clang" -dumpversion | cut -d. -f1)
    echo "fuzz: $clang has no libFuzzer (Debian, Ubuntu: apt-get install libclang-rt-$version-dev)" >&2
    exit 1
fi
cmake -S "$source/tests/campaign/fuzz" -B "$work" -G Ninja -DCMAKE_C_COMPILER="$clang" >"$work/configure.log" ||
    { cat "$work/configure.log" >&2; exit 1; }
cmake --build "$work"
[ $# -gt 0 ] || set -- parse set graph_text import chat nodelink csv profile safetensors index checkpoint tokens

reports=0
table="harness      executions   a second   covered  report"
export UBSAN_OPTIONS=print_stacktrace=1
for name; do
    mkdir -p "$work/corpus/$name"
    log=$work/$name.log code=0
    case $name in
    parse | set) words=-dict=$source/tests/campaign/fuzz/remat.dict ;;
    chat) words=-dict=$source/tests/campaign/fuzz/chat.dict ;;
    *) words= ;;
    esac
    # shellcheck disable=SC2086
    "$work/fuzz_$name" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -malloc_limit_mb=1024 -close_fd_mask=3 \
        -print_final_stats=1 -verbosity=1 -artifact_prefix="$work/findings/$name-" -max_len=8192 $words "$work/corpus/$name" \
        "$source/tests/campaign/corpus/$name" >"$log" 2>&1 || code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    covered=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -n 1)
    said=none
    if [ "$code" != 0 ]; then
        reports=$((reports + 1))
        said=$(grep -m 1 -E '^SUMMARY|does not hold|ERROR: libFuzzer' "$log" || echo "exit $code, see $log")
    fi
    row=$(printf '%-12s %10s %10s %9s  %s' "$name" "${runs:-?}" "${rate:-?}" "${covered:-?}" "$said")
    echo "$row"
    table="$table
$row"
done
echo
echo "$table"
[ "$reports" = 0 ] || { echo "inputs: $work/findings" >&2; exit 1; }
