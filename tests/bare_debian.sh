#!/bin/sh
# The README's commands on a Debian that has nothing: bare_debian.sh [RELEASE...] (bookworm and trixie where none is
# named). In a root made by mmdebstrap, with a fresh clone of this repository's HEAD: the demo, the tests, and the
# installation, used with the clone gone. Root is needed, mmdebstrap, and a mirror of Debian.
#
#     REMAT_BARE_PARTS   what is done of "demo test install"; all of it where it is not given
#     REMAT_BARE_TESTS   a pattern of ctest's -R: those tests alone, in place of the README's command for all
#     REMAT_BARE_DIR     where the roots lie, some gigabytes; /tmp. They are removed
#     REMAT_MIRROR       another mirror than the default
set -eu
source_dir=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || { echo "bare_debian.sh: chroot wants root" >&2; exit 2; }
command -v mmdebstrap >/dev/null || { echo "bare_debian.sh: no mmdebstrap: apt-get install mmdebstrap" >&2; exit 2; }
[ $# -gt 0 ] || set -- bookworm trixie
work=$(mktemp -d "${REMAT_BARE_DIR:-/tmp}/bare_debian.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
# processes and devices as a machine has them, which go with the session
mounts='mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$1" sh /root/session.sh'

for release; do
    root=$work/$release
    echo "== $release: a bare root =="
    mmdebstrap --quiet --variant=apt "$release" "$root" ${REMAT_MIRROR:+"$REMAT_MIRROR"}
    # names are resolved as they are here
    cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || :
    git clone -q "$source_dir" "$root/root/remat"
    cat >"$root/root/session.sh" <<'SESSION'
set -eux
cd /root/remat
for part in $BARE_PARTS; do
    case $part in
    demo)
        sh setup.sh && cmake --workflow --preset demo || exit 1
        for file in train plan.svg plan.png; do [ -s build/demo/bytes-gpt/$file ]; done
        ;;
    test)
        if [ -z "$BARE_TESTS" ]; then
            sh setup.sh && cmake --workflow --preset test || exit 1
        else
            sh setup.sh
            cmake --preset default
            cmake --build build
            ctest --test-dir build --output-on-failure -R "$BARE_TESTS"
        fi
        ;;
    install) ;;
    *) echo "there is no part '$part'" >&2; exit 2 ;;
    esac
done
case $BARE_PARTS in *install*) ;; *) exit 0 ;; esac
sh setup.sh
cmake --preset default
cmake --build build --target share
cmake --install build --prefix /usr/local
rm -rf /root/remat
mkdir /root/empty && cd /root/empty
cp /usr/local/share/doc/remat/examples/bytes-gpt.remat .
rematc --version
rematc plan bytes-gpt.remat
sh /usr/local/share/doc/remat/examples/corpus.sh corpus.txt
rematc build bytes-gpt.remat -o bytes-gpt --quiet
bytes-gpt/train --steps 3 --sample 0
SESSION
    echo "== $release: ${REMAT_BARE_PARTS:-demo test install} =="
    env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb \
        ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        BARE_TESTS="${REMAT_BARE_TESTS:-}" BARE_PARTS="${REMAT_BARE_PARTS:-demo test install}" \
        unshare --mount --pid --fork sh -c "$mounts" sh "$root"
    echo "== $release: fine =="
    rm -rf "$root"
done
