#!/bin/sh
# Sets up, builds, and does the main job on real input: collects this host and one over real SSH, shows the status and
# the mail that goes out. Touches nothing outside target/ (and installed packages), mails nobody, stops what it started.
set -eu

cd "$(dirname "$0")/.."
begin=$(date +%s)
. tests/prerequisites.sh

say "== What is needed"
need_for_building

say "== Building (the first time takes some minutes)"
cargo build --release --locked
bin=$PWD/${CARGO_TARGET_DIR:-target}/release
case ${CARGO_TARGET_DIR:-} in /*) bin=$CARGO_TARGET_DIR/release ;; esac
built=$(date +%s)

demo=$PWD/target/demo
sshd_pid=
elsewhere=
finish() {
    [ -z "$sshd_pid" ] || kill "$sshd_pid" 2>/dev/null || true
    [ -z "$elsewhere" ] || rm -rf "$elsewhere"
}
trap finish EXIT
trap 'exit 130' INT TERM
rm -rf "$demo"
mkdir -p "$demo"
chmod 700 "$demo"
# What config.xml takes as remote-dir needs no quoting in any shell; a project below "My Documents" is no such place.
remote=$demo
case $demo in *[!A-Za-z0-9._/~+-]*)
    elsewhere=$(mktemp -d)
    remote=$elsewhere
    ;;
esac

# An sshd of our own on a free port of loopback, for this user, by key. Not at all where that cannot be had.
start_sshd() {
    have_sshd || { say "no sshd here, and it takes root to install it"; return 1; }
    if is_root; then mkdir -p /run/sshd; fi
    # An empty home: what this user's shell does at every login is not what is to be shown.
    mkdir "$demo/home"
    ssh-keygen -q -t ed25519 -N '' -f "$demo/host_key"
    ssh-keygen -q -t ed25519 -N '' -f "$demo/login_key"
    cp "$demo/login_key.pub" "$demo/authorized_keys"
    port=20022
    while [ $port -lt 20122 ]; do
        : >"$demo/sshd.log"
        cat >"$demo/sshd_config" <<CONFIG
ListenAddress 127.0.0.1:$port
HostKey $demo/host_key
AuthorizedKeysFile $demo/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
SetEnv HOME=$demo/home
CONFIG
        /usr/sbin/sshd -D -f "$demo/sshd_config" -E "$demo/sshd.log" &
        sshd_pid=$!
        tries=0
        while kill -0 "$sshd_pid" 2>/dev/null && [ $tries -lt 50 ]; do
            if grep -q 'Server listening' "$demo/sshd.log"; then return 0; fi
            sleep 0.1
            tries=$((tries + 1))
        done
        kill "$sshd_pid" 2>/dev/null || true
        sshd_pid=
        grep -q 'in use' "$demo/sshd.log" || break
        port=$((port + 1))
    done
    say "sshd does not start here:"
    sed 's/^/    /' "$demo/sshd.log"
    return 1
}

# Every value of these has to exceed 1 %: the threshold really fires.
alert='<alert type="memory" limit="1%" note="A limit of 1 % fires everywhere: this is a demonstration."/>'

write_config() {
    cat >"$demo/config.xml" <<CONFIG
<config>
  <storage url="sqlite:fleet.db"/>
  <mail transport="directory" path="mail"/>
  <client name="this-host" connection="local" remote-dir="$remote/this-host" mail="you@example.org">
    $alert
  </client>
$1</config>
CONFIG
    chmod 600 "$demo/config.xml"
}

collector() { "$bin/fleet-collector" "$@" --config "$demo/config.xml"; }
alerter() { "$bin/fleet-alerter" "$@" --config "$demo/config.xml"; }

say "== A machine to reach by SSH"
if start_sshd; then
    say "sshd listens on 127.0.0.1 port $port, for $(id -un), by key"
    write_config "  <client name=\"by-ssh\" ip=\"127.0.0.1\" port=\"$port\" username=\"$(id -un)\"
          identity-file=\"login_key\" remote-dir=\"$remote/by-ssh\" mail=\"you@example.org\">
    $alert
  </client>
"
    say
    say "\$ fleet-collector trust by-ssh --yes"
    collector trust by-ssh --yes
else
    say "So this shows the main job with this host alone. Without root: sudo apt-get install openssh-server"
    write_config ""
fi

say
say "== The main job"
say "\$ fleet-collector --json"
collector --json || die "a client was not collected: see above"
first=$(date +%s)

say
say "\$ fleet-alerter --dry-run"
alerter --dry-run

say
say "\$ fleet-alerter"
alerter || die "the mail was not written: see above"
for mail in "$demo"/mail/*.eml; do
    [ -e "$mail" ] || die "no mail was written, though a limit was crossed"
    say "the mail lies in target/demo/mail/$(basename "$mail"); its text is the one above, its header:"
    tr -d '\r' <"$mail" | sed -e '/^$/,$d' -e 's/^/    /'
done

say
say "\$ fleet-alerter status"
alerter status

say
say "== Done: $((first - begin)) s from the command to the first result, $((built - begin)) s of them for building."
say "Everything of it lies in target/demo; config.xml there is the configuration. Next: README.md, Setting up."
