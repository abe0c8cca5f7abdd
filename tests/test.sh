#!/bin/sh
# Installs what the tests need and runs them all: unit tests, property tests, and the three programs against real sshd,
# SMTP servers and PostgreSQL. Ends with one line, "N passed, M failed", and fails if any test did.
set -eu
export CARGO_TERM_COLOR=never

cd "$(dirname "$0")/.."
. tests/prerequisites.sh

say "== What is needed"
need_for_building
need_for_testing
if is_root; then
    say "as root: everything can run"
else
    say "as $(id -un), not root, these cannot run:"
    grep -hA1 '^#\[test\]' tests/root*.rs tests/environments.rs | sed -n 's/^fn \([a-z_]*\)().*/    root: \1/p'
    say "  reason: only root can make throwaway users with passwords, change its root directory, and mount"
    say "  and end_to_end logs in by key to this one user, not by password to three"
fi

say "== Building"
cargo build --release --locked --workspace

log=${CARGO_TARGET_DIR:-target}/test.log
: >"$log"

# Runs cargo with its output shown and kept; its exit status is in $status afterwards.
run() {
    say "\$ cargo $*"
    rm -f "$log.failed"
    { cargo "$@" 2>&1 || : >"$log.failed"; } | tee -a "$log"
    if [ -e "$log.failed" ]; then
        rm -f "$log.failed"
        status=1
    fi
}

say "== Testing"
status=0
run test --release --locked --workspace --no-fail-fast
if is_root; then
    run test --release --locked --workspace --test root --test root_probe --test root_postgres --test root_fleet \
        --test environments --no-fail-fast
fi

# "test result: ok. 12 passed; 0 failed; 1 ignored; ..."
sum() { sed -n "s/^test result: .* \([0-9][0-9]*\) $1.*/\1/p" "$log" | awk '{ sum += $1 } END { print sum + 0 }'; }
passed=$(sum passed)
failed=$(sum failed)

say
if [ "$failed" -gt 0 ]; then
    say "failed:"
    sed -n 's/^test \(.*\) \.\.\. FAILED$/    \1/p' "$log"
fi
if grep -q '^SKIPPED: ' "$log"; then sed -n 's/^SKIPPED: /not tried: /p' "$log"; fi
if ! is_root; then
    say "not run as $(id -un): $(cat tests/root*.rs tests/environments.rs | grep -c '^#\[test\]') tests, which need root"
fi
# Something that did not compile, or died, fails without a test that says so.
if [ $status -ne 0 ] && [ "$failed" -eq 0 ]; then
    say "cargo test failed outside of a test: see above"
    failed=1
fi
[ "$passed" -gt 0 ] || { say "no test ran"; failed=1; }
say "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
