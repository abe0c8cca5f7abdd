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
status=0

# The lines of rustflags, as cargo wants them: separated by the character 31. More flags may follow as arguments.
flags() { { cat local-probe/rustflags; for flag in "$@"; do printf '%s\n' "$flag"; done; } | tr '\n' '\037' | sed 's/\o37$//'; }

have_target() { [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ] || rustup target add "$1" >/dev/null 2>&1; }

build() {
    machine=$1 musl=$2 glibc=$3 gcc=$4 package=$5
    if have_target "$musl"; then
        target=$musl flags=$(flags -Clinker=rust-lld -Clinker-flavor=ld.lld -Clink-self-contained=yes)
    elif have_target "$glibc" && command -v "$gcc" >/dev/null; then
        target=$glibc flags=$(flags "-Clinker=$gcc")
        echo "$machine: rustup cannot get $musl here: linked with static glibc" >&2
    else
        echo "$machine: not built: rustup cannot get $musl; with $glibc it needs the Debian package $package" >&2
        status=1
        return 0
    fi
    CARGO_ENCODED_RUSTFLAGS=$flags cargo build --quiet --locked --profile probe -p local-probe --bin local-probe \
        --target "$target" --target-dir "$work"
    # Under another name first: who reads the directory finds a whole probe or none.
    cp "$work/$target/probe/local-probe" "$out/.probe-$machine"
    chmod 755 "$out/.probe-$machine"
    mv "$out/.probe-$machine" "$out/probe-$machine"
    echo "$out/probe-$machine: $target, $(wc -c <"$out/probe-$machine") bytes"
}

work=${CARGO_TARGET_DIR:-target}/probe-builds
for machine in "$@"; do
    case $machine in
        aarch64) build aarch64 aarch64-unknown-linux-musl aarch64-unknown-linux-gnu \
            aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu ;;
        armv7l) build armv7l armv7-unknown-linux-musleabihf armv7-unknown-linux-gnueabihf \
            arm-linux-gnueabihf-gcc gcc-arm-linux-gnueabihf ;;
        riscv64) build riscv64 riscv64gc-unknown-linux-musl riscv64gc-unknown-linux-gnu \
            riscv64-linux-gnu-gcc gcc-riscv64-linux-gnu ;;
        i686) build i686 i686-unknown-linux-musl i686-unknown-linux-gnu i686-linux-gnu-gcc gcc-i686-linux-gnu ;;
        *)
            echo "$machine: not known: aarch64, armv7l, riscv64 or i686" >&2
            exit 2
            ;;
    esac
done
# shellcheck disable=SC2035 # they all begin with probe-
(cd "$out" && sha256sum probe-* >SHA256SUMS)
exit $status
