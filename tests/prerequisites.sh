# shellcheck shell=sh
# What building and testing need, and how it gets here. Sourced by demo.sh and test.sh, which run in the root of the
# project. It installs only as root on a system with apt, and only what is missing; else it says the one line to type.

say() { printf '%s\n' "$*"; }

die() { printf '\nerror: %s\n' "$*" >&2; exit 1; }

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# The packages (of Debian and Ubuntu) of those commands that are missing: "command:package" ...
missing_packages() {
    for need in "$@"; do
        have "${need%%:*}" || printf '%s ' "${need##*:}"
    done
}

# Installs packages, or fails with status 1 after saying what to type. No service is started on the way.
install_packages() {
    [ $# -gt 0 ] || return 0
    if ! have apt-get; then
        say "missing, and there is no apt-get here: install what these packages of Debian hold: $*" >&2
        return 1
    fi
    if ! is_root; then
        say "missing; type this line, then run the command again:" >&2
        say "    sudo apt-get install -y --no-install-recommends $*" >&2
        return 1
    fi
    say "installing: $*"
    policy=/usr/sbin/policy-rc.d
    ours=no
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        ours=yes
    fi
    mkdir -p target
    status=0
    # Package lists may be there already; they are fetched only if the install fails without them.
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >target/apt.log 2>&1 ||
        { apt-get update >target/apt.log 2>&1 &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>target/apt.log 2>&1; } ||
        status=1
    [ "$ours" = no ] || rm -f "$policy"
    if [ $status -ne 0 ]; then
        tail -n 5 target/apt.log >&2
        say "apt-get could not install $*: see target/apt.log" >&2
    fi
    return $status
}

# Rust, a C compiler, perl and make; for the probe also the musl target, without which it becomes larger.
need_for_building() {
    [ -d "$HOME/.cargo/bin" ] && PATH="$PATH:$HOME/.cargo/bin"
    have cargo || die "cargo is missing: install Rust from https://rustup.rs, then run this command again"
    # shellcheck disable=SC2046 # one word per package
    install_packages $(missing_packages cc:gcc perl:perl make:make) || exit 1
    # libc's headers come as a package of their own.
    if ! printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | cc -x c -o /dev/null - >/dev/null 2>&1; then
        install_packages gcc libc6-dev || exit 1
    fi
    musl="$(uname -m)-unknown-linux-musl"
    if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$musl" ]; then
        if have rustup && rustup target add "$musl" >/dev/null 2>&1; then
            say "added the Rust target $musl, for a small probe"
        else
            say "the Rust target $musl cannot be had: the probe is linked with static glibc instead, and larger"
        fi
    fi
}

# Whether a real sshd can be had; tries to install it as root.
have_sshd() {
    [ -x /usr/sbin/sshd ] && have ssh-keygen && return 0
    is_root || return 1
    install_packages openssh-server openssh-client
}

# A python that knows aiosmtpd: the system's, where Debian's package goes, or another.
have_aiosmtpd() {
    for python in /usr/bin/python3 python3; do
        "$python" -c 'import aiosmtpd' >/dev/null 2>&1 && return 0
    done
    return 1
}

# Debian's cross compiler "$2" in the packages "$3", where rustup cannot get the musl target "$1".
cross_packages() {
    [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ] || rustup target add "$1" >/dev/null 2>&1 ||
        have "$2" || printf '%s ' "$3"
}

# What links the probes of FLEET_MACHINES (tests/src/probes.rs has those that are tried without it).
foreign_packages() {
    for machine in ${FLEET_MACHINES:-}; do
        case $machine in
            armv7l) cross_packages armv7-unknown-linux-musleabihf arm-linux-gnueabihf-gcc \
                "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross" ;;
            riscv64) cross_packages riscv64gc-unknown-linux-musl riscv64-linux-gnu-gcc \
                "gcc-riscv64-linux-gnu libc6-dev-riscv64-cross" ;;
        esac
    done
}

# Whether a PostgreSQL server is here; Debian keeps its programs out of PATH.
have_postgres() {
    for initdb in /usr/lib/postgresql/*/bin/initdb; do
        [ -x "$initdb" ] && return 0
    done
    have initdb
}

# sshd, ssh-agent, an SMTP server, certificates for it, PostgreSQL and a pooler before it (as programs: the tests start
# their own, no service is), and what runs programs of other machines.
need_for_testing() {
    packages=$(missing_packages xmllint:libxml2-utils script:bsdutils ssh-agent:openssh-client ssh-keygen:openssh-client openssl:openssl)
    [ -x /usr/sbin/sshd ] || packages="$packages openssh-server"
    have_aiosmtpd || packages="$packages python3 python3-aiosmtpd"
    have_postgres || packages="$packages postgresql"
    [ -x /usr/sbin/pgbouncer ] || packages="$packages $(missing_packages pgbouncer:pgbouncer)"
    # The login shells and the networks that only root can give.
    if is_root; then
        packages="$packages $(missing_packages csh:csh tcsh:tcsh fish:fish zsh:zsh mksh:mksh busybox:busybox \
            ip:iproute2)"
    fi
    # A clock for each program, and programs of other machines.
    packages="$packages $(missing_packages faketime:faketime qemu-aarch64:qemu-user) $(foreign_packages)"
    # shellcheck disable=SC2086 # one word per package
    install_packages $packages || exit 1
    have_aiosmtpd || die "python3-aiosmtpd is installed, and no python3 finds it"
}
