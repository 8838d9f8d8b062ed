#!/bin/sh
# includes.sh SOURCE_DIR WORK_DIR: every include stands in the table of rooms of docs/design.md.
#
# It is named from the root and comes from the file's own room or from one that the table lets it see; rooms and
# headers form no circle; a header declares what its own file defines, or is the map of its folder.
set -eu
[ $# = 2 ] || { sed -n 's/^# //p' "$0"; exit 2; }
mkdir -p "$2"
(cd "$1" && find ir planner frontend codegen kernels runtime tests -type f \
    \( -name '*.[chyl]' -o -name '*.def' -o -name '*.cu' -o -name '*.cuh' \)) | LC_ALL=C sort >"$2/files"
LC_ALL=C awk -v root="$1" -v list="$2/files" -f "$(dirname "$0")/includes.awk"
