#!/bin/sh
# lint.sh BUILD [FILE...]: the form and the habits of the sources, by clang-format 14 and clang-tidy 14 (Debian 12's);
# other releases differ in what they want. Without files: all of them. BUILD has compile_commands.json.
set -eu
build=${1:?}
shift
cd "$(dirname "$0")/.."
format=$(command -v clang-format-14 || command -v clang-format) tidy=$(command -v clang-tidy-14 || command -v clang-tidy)
for tool in "$format" "$tidy"; do
    "$tool" --version | grep -q 'version 14' || { echo "lint.sh: $tool is not of release 14" >&2; exit 2; }
done
if [ $# = 0 ]; then
    # the headers that people read as a whole are aligned by hand
    by_hand='^(ir/graph.h|planner/plan.h|kernels/kernels.h|runtime/rt.h|runtime/internal.h)$'
    git ls-files '*.c' '*.h' | grep -Ev "$by_hand" | xargs "$format" --dry-run -Werror
    # what is compiled for the compiler and the host; sources made by flex and bison are not ours
    set -- $(git ls-files 'codegen/*.c' 'frontend/*.c' 'ir/*.c' 'planner/*.c' 'runtime/*.c' | grep -v device_cuda)
fi
status=0
for file; do
    "$tidy" --quiet -p "$build" "$file" 2>/dev/null || status=1
done
exit $status
