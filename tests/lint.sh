#!/bin/sh
# lint.sh BUILD [FILE...]: the form and the habits of the sources, by clang-format 14, clang-tidy 14 and cppcheck 2.10
# (Debian 12's); other releases differ in what they want. Without files: all of them, and only then cppcheck. BUILD has
# compile_commands.json.
set -eu
build=${1:?}
shift
cd "$(dirname "$0")/.."
format=$(command -v clang-format-14 || command -v clang-format) tidy=$(command -v clang-tidy-14 || command -v clang-tidy)
for tool in "$format" "$tidy"; do
    "$tool" --version | grep -q 'version 14' || { echo "lint.sh: $tool is not of release 14" >&2; exit 2; }
done
whole=false
if [ $# = 0 ]; then
    # the headers that people read as a whole are aligned by hand
    by_hand='^(ir/graph.h|planner/plan.h|kernels/kernels.h|runtime/rt.h|runtime/internal.h)$'
    git ls-files '*.c' '*.h' '*.cu' '*.cuh' '*.cpp' | grep -Ev "$by_hand" | xargs "$format" --dry-run -Werror
    # what is compiled for the compiler and the host; sources made by flex and bison are not ours
    whole=true
    set -- $(git ls-files 'codegen/*.c' 'frontend/*.c' 'ir/*.c' 'planner/*.c' 'runtime/*.c' | grep -v _cuda.c)
fi
status=0
# What cppcheck 2.10 takes for wrong and is not: `at` of an array (VEC) for a pointer to one thing; arrays that a loop
# fills before another reads them; `die` and `rt_fail`, which do not return; a local whose address is only lent; what
# the function that is given its address fills.
! $whole || cppcheck -q --std=c11 --enable=warning,portability,performance -I. --error-exitcode=1 \
    --template='{file}:{line}: {message} [{id}]' --suppress=missingIncludeSystem --suppress=unknownMacro \
    --suppress=internalAstError --suppress=objectIndex --suppress=nullPointerRedundantCheck \
    --suppress=nullPointerArithmeticRedundantCheck --suppress=ctunullpointer:runtime/weight_files.c \
    --suppress=ctunullpointer:runtime/model_folder.c \
    --suppress=uninitvar:frontend/driver/programs.c --suppress=uninitvar:planner/bound/closure.c \
    --suppress=uninitvar:planner/bound/instants.c --suppress=zerodiv:planner/layout/pack.c \
    --suppress=returnDanglingLifetime:frontend/lower/lower_op.c --suppress=ctuuninitvar:runtime/call.c \
    --suppress=uninitvar:frontend/lower/lower_op.c --suppress=uninitvar:kernels/codes.h "$@" || status=1
for file; do
    "$tidy" --quiet -p "$build" "$file" 2>/dev/null || status=1
done
exit $status
