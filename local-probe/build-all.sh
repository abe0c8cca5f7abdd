#!/bin/sh
# Builds the probe for other machines: sh local-probe/build-all.sh [DIR [MACHINE...]]
#
# Writes DIR/probe-<uname -m> and DIR/SHA256SUMS; DIR is target/probes where none is given, the machines are aarch64,
# armv7l, riscv64 and i686. Needs Rust with rustup, and no C compiler: the probe holds no C, musl comes with the Rust
# target, and rust-lld links. Where rustup cannot get a musl target, the probe is linked with static glibc by Debian's
# cross compiler, if that is installed. What cannot be built is said; the exit status is 1 then.
set -eu
cd "$(dirname "$0")/.."
out=${1:-target/probes}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- aarch64 armv7l riscv64 i686
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=${CARGO_TARGET_DIR:-target}/probe-builds
status=0
built=
targets=

# Whether Rust's standard library for a target is there, or can be got.
have_target() {
    [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ] || rustup target add "$1" >/dev/null 2>&1
}

# Whether a cross compiler is there, with a static libc.
can_link() {
    printf 'int main(void) { return 0; }\n' | "$1" -static -x c -o /dev/null - >/dev/null 2>&1
}

# Chooses how a machine's probe is built: its name, its musl target, its glibc target, and what links that: the
# compiler, and Debian's packages of it.
choose() {
    flags=$(tr '\n' ' ' <local-probe/rustflags)
    if have_target "$2"; then
        target=$2
        flags="$flags-Clinker=rust-lld -Clinker-flavor=ld.lld -Clink-self-contained=yes"
    elif have_target "$3" && can_link "$4"; then
        target=$3
        flags="$flags-Clinker=$4"
        echo "$1: rustup cannot get $2 here: linked with static glibc"
    else
        echo "$1: not built: rustup cannot get $2; for $3 install $5 (Debian)" >&2
        status=1
        return 0
    fi
    # Cargo's own variable for the flags of one target, so that one run of it builds all of them at once.
    export "CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')_RUSTFLAGS=$flags"
    targets="$targets --target $target"
    built="$built $1:$target"
}

for machine in "$@"; do
    case $machine in
        aarch64) choose aarch64 aarch64-unknown-linux-musl aarch64-unknown-linux-gnu \
            aarch64-linux-gnu-gcc "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
        armv7l) choose armv7l armv7-unknown-linux-musleabihf armv7-unknown-linux-gnueabihf \
            arm-linux-gnueabihf-gcc "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross" ;;
        riscv64) choose riscv64 riscv64gc-unknown-linux-musl riscv64gc-unknown-linux-gnu \
            riscv64-linux-gnu-gcc "gcc-riscv64-linux-gnu libc6-dev-riscv64-cross" ;;
        i686) choose i686 i686-unknown-linux-musl i686-unknown-linux-gnu \
            i686-linux-gnu-gcc "gcc-i686-linux-gnu libc6-dev-i386-cross" ;;
        *)
            echo "$machine: not known: aarch64, armv7l, riscv64 or i686" >&2
            exit 2
            ;;
    esac
done
[ -n "$built" ] || exit 1

# These would take the place of the flags above.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
# shellcheck disable=SC2086 # two words per target
cargo build --quiet --locked --profile probe -p local-probe --bin local-probe $targets --target-dir "$work"

for pair in $built; do
    machine=${pair%%:*}
    target=${pair#*:}
    # Under another name first: who reads the directory finds a whole probe or none.
    cp "$work/$target/probe/local-probe" "$out/.probe-$machine"
    chmod 755 "$out/.probe-$machine"
    mv "$out/.probe-$machine" "$out/probe-$machine"
    echo "$out/probe-$machine: $target, $(wc -c <"$out/probe-$machine") bytes"
done
(cd "$out" && sha256sum probe-* >SHA256SUMS)
exit $status
