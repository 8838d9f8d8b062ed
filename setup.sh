#!/bin/sh
# Installs what the build and the tests need, by package name; quick when nothing is missing.
set -eu
packages="gcc g++ make cmake ninja-build flex bison pkg-config libopenblas-openmp-dev libgraphviz-dev graphviz
libjansson-dev libpcre2-dev libutf8proc-dev libcmocka-dev python3"
if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    echo "setup.sh: this system has no apt. Install with its package manager the equivalents of:" $packages >&2
    exit 0
fi
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
sudo=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "setup.sh: not root and no sudo; install as root:$missing" >&2
        exit 1
    fi
    sudo=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q
$sudo apt-get install -q -y --no-install-recommends $missing
