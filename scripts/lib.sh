# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# Shared by the scripts in this folder: where things are, what must be installed, how to build.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

packages_build=(gcc libc6-dev cmake ninja-build pkg-config
    liburing-dev libxxhash-dev libjemalloc-dev libfyaml-dev)
packages_test=(ccache clang-14 libclang-rt-14-dev llvm-14 clang-format-14 clang-tidy-14
    libcriterion-dev libpaho-mqtt-dev mosquitto-clients
    python3 python3-pytest python3-pytest-xdist python3-paho-mqtt)

say() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "neither root nor sudo: as root, run: $*"
    fi
}

lists_are_fresh() {
    [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mmin -1440 -print -quit \
        2>/dev/null)" ]
}

# install_packages NAME...: by apt-get, only those that are missing.
install_packages() {
    local missing=() name

    command -v dpkg-query >/dev/null || die "this is not Debian; please install by hand: $*"
    for name in "$@"; do
        dpkg-query -W -f='${Status}\n' "$name" 2>/dev/null | grep -q '^install ok installed$' ||
            missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0

    say "installing ${missing[*]}"
    lists_are_fresh || as_root apt-get -q update >&2 || die "apt-get update failed"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${missing[@]}" >&2 ||
        die "apt-get could not install: ${missing[*]}"
}

# install_commands COMMAND=PACKAGE...: for what may also come from elsewhere than Debian.
install_commands() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} -eq 0 ] || install_packages "${missing[@]}"
}

# configure FOLDER TYPE [CMAKE-OPTION...]: build/FOLDER as a build of TYPE; cheap when nothing changed.
configure() {
    local folder=$1 type=$2
    shift 2
    mkdir -p "$top/build"
    cmake -G Ninja -S "$top" -B "$top/build/$folder" -DCMAKE_BUILD_TYPE="$type" "$@" \
        >"$top/build/$folder.configure.log" 2>&1 || {
        cat "$top/build/$folder.configure.log" >&2
        return 1
    }
}

# Our C files, relative to the top.
sources() {
    (cd "$top" && find proto core shard tls bench tests \( -name '*.c' -o -name '*.h' \) \
        2>/dev/null | sort)
}
