#!/bin/sh
# Writes at least 1 MB of English text to the file named: CMake's own manual, which every machine that
# builds this project has. The same CMake version gives the same bytes.
set -eu
[ $# = 1 ] || { echo "usage: corpus.sh FILE" >&2; exit 2; }
cmake=${CMAKE_COMMAND:-cmake}
aside="$1.part"
"$cmake" --help-full | LC_ALL=C tr -d '\r' >"$aside"
bytes=$(wc -c <"$aside")
if [ "$bytes" -lt 1000000 ]; then
    rm -f "$aside"
    echo "corpus.sh: '$cmake --help-full' printed only $bytes bytes; install CMake's help (package cmake-data)" >&2
    exit 5
fi
mv "$aside" "$1"
