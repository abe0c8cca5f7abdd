//! Ways through bastions and commands, each through real sshds: what comes through, what is said where nothing does, and
//! that nothing is left running.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

use tests::child;
use tests::programs;
use tests::silent::{BlackHole, Silent};
use tests::site::{Collection, Site};
use tests::sshd::Sshd;

/// A bastion and a client behind it, whose keys the site knows.
struct Pair {
    site: Site,
    gate: Sshd,
    target: Sshd,
}

impl Pair {
    /// With further lines for the bastion's sshd_config.
    fn with(options: &str) -> Self {
        let pair = Self { site: Site::new(), gate: Sshd::with(options), target: Sshd::start() };
        pair.know(&[&pair.gate, &pair.target]);
        pair
    }

    fn know(&self, servers: &[&Sshd]) {
        let lines: Vec<_> = servers
            .iter()
            .map(|sshd| format!("{} {}\n", sshd.known_as(), sshd.host_key("ed25519")))
            .collect();
        self.site.write_known_hosts(&lines.concat());
    }

    /// The bastion, and the client `web1` behind it.
    fn configure(&self, gate: &str, web1: &str) {
        let gate = self.site.client(&self.gate, "gate", &format!("enabled=\"false\" {gate}"), "");
        let web1 = self.site.client(&self.target, "web1", &format!("proxy-jump=\"gate\" {web1}"), "");
        self.site.configure(&format!("{gate}{web1}"));
    }

    /// A client `web1` that is reached by a command.
    fn by_command(&self, command: &str, attributes: &str) {
        let attributes = format!("proxy-command=\"{command}\" {attributes}");
        self.site.configure(&self.site.client(&self.target, "web1", &attributes, ""));
    }

    /// How it ended, with such parts in its message; and nothing of it runs any more.
    #[track_caller]
    fn refused(&self, outcome: &str, parts: &[&str]) -> Collection {
        let collection = self.site.collect();
        let only = collection.only();
        assert_eq!(only.outcome, outcome, "{collection:#?}");
        for part in parts {
            assert!(only.message.contains(part), "{part} is not in {}", only.message);
        }
        nothing_runs(&self.site);
        collection
    }
}

/// No process is left whose home is the site's: neither a worker nor a command nor what that started.
fn nothing_runs(site: &Site) {
    let home = format!("HOME={}", site.text("home"));
    let runs = |entry: &Path| {
        let environment = std::fs::read(entry.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == home.as_bytes())
    };
    // What was killed may take a moment to be gone.
    child::until("nothing of the site runs any more", || {
        !std::fs::read_dir("/proc").unwrap().flatten().any(|entry| runs(&entry.path()))
    });
}

#[test]
fn a_client_behind_a_bastion_is_collected() {
    let pair = Pair::with("");
    pair.configure("", "");
    assert!(pair.site.collect().expect_all().only().uploaded);
    assert!(!pair.site.collect().expect_all().only().uploaded);
    assert_eq!((pair.gate.accepted(), pair.target.accepted()), (2, 2));
    nothing_runs(&pair.site);
}

#[test]
fn two_bastions_one_behind_the_other() {
    let pair = Pair::with("");
    let inner = Sshd::start();
    pair.know(&[&pair.gate, &pair.target, &inner]);
    let hop = format!("gate, {}@{}:{}", tests::user(), inner.address(), inner.port());
    let gate = pair.site.client(&pair.gate, "gate", "enabled=\"false\"", "");
    inner.authorize(&pair.gate.login_key().with_extension("pub"));
    let web1 = pair.site.client(&pair.target, "web1", &format!("proxy-jump=\"{hop}\""), "");
    let defaults = format!(
        "<defaults identity-file=\"{}\" known-hosts=\"{}\"/>",
        pair.gate.login_key().display(),
        pair.site.text("known_hosts")
    );
    pair.site.configure(&format!("{defaults}{gate}{web1}"));
    pair.site.collect().expect_all();
    let from_inner = format!("Connection from {} ", inner.address());
    assert!(pair.target.log().contains(&from_inner), "{}", pair.target.log());
    assert_eq!((pair.gate.accepted(), inner.accepted(), pair.target.accepted()), (1, 1, 1));
    nothing_runs(&pair.site);
}

#[test]
fn a_long_spool_comes_through_unharmed() {
    let pair = Pair::with("");
    pair.configure("", "");
    pair.site.collect().expect_all();
    let spools = std::fs::read_dir(pair.site.remote_dir("web1")).unwrap().flatten();
    let spool = spools.map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
    let sample = spool.join("sample").display().to_string();
    let many = format!("i=0; while [ $i -lt 30 ]; do {sample} || exit 1; i=$((i+1)); done");
    child::output("/bin/sh", &["-c", &many]);
    pair.site.collect_with(&["--fresh"]).expect_all();
    assert_eq!(pair.site.status()["counts"]["reports"], 32);
    nothing_runs(&pair.site);
}

#[test]
fn a_bastion_that_forwards_nothing_is_told_of() {
    for options in ["AllowTcpForwarding no", "PermitOpen 192.0.2.1:22"] {
        let pair = Pair::with(options);
        pair.configure("", "");
        pair.refused(
            "forwarding-refused",
            &["on the way, at gate:", "AllowTcpForwarding", "authorized_keys"],
        );
        assert_eq!(pair.target.accepted(), 0);
    }
}

#[test]
fn a_bastion_that_nobody_knows_ends_it_before_any_login() {
    let mut pair = Pair::with("");
    pair.configure("", "");
    pair.know(&[&pair.target]);
    let fingerprint = pair.gate.fingerprint("ed25519");
    pair.refused("host-key-unknown", &["at gate:", &fingerprint, "fleet-collector trust web1"]);
    assert!(
        !pair.gate.log().contains("Accepted") && !pair.gate.log().contains("Failed"),
        "{}",
        pair.gate.log()
    );

    pair.know(&[&pair.gate, &pair.target]);
    pair.gate.replace_host_keys();
    pair.refused("host-key-changed", &["at gate:", "CHANGED"]);
    assert!(
        !pair.gate.log().contains("Accepted") && !pair.gate.log().contains("Failed"),
        "{}",
        pair.gate.log()
    );
}

#[test]
fn a_bastion_that_lets_nobody_in_is_told_of() {
    let pair = Pair::with("");
    // The key of the client opens the client alone.
    pair.configure(&format!("identity-file=\"{}\"", pair.target.login_key().display()), "");
    pair.refused("auth-refused", &["on the way, at gate:", "publickey"]);
    assert_eq!(pair.target.accepted(), 0, "{}", pair.target.log());
}

#[test]
fn what_is_wrong_with_the_client_behind_a_bastion_is_the_clients() {
    let pair = Pair::with("");
    pair.configure("", "");
    pair.know(&[&pair.gate]);
    let collection = pair.refused("host-key-unknown", &[&pair.target.fingerprint("ed25519")]);
    assert!(!collection.only().message.contains("on the way"), "{collection:#?}");
    assert!(!pair.target.log().contains("Accepted"), "{}", pair.target.log());

    pair.know(&[&pair.gate, &pair.target]);
    pair.configure("", &format!("identity-file=\"{}\"", pair.gate.login_key().display()));
    let collection = pair.refused("auth-refused", &[]);
    assert!(!collection.only().message.contains("on the way"), "{collection:#?}");
}

#[test]
fn algorithms_behind_a_bastion_are_named_too() {
    let mut pair = Pair::with("");
    pair.target = Sshd::with("Ciphers aes128-cbc");
    pair.know(&[&pair.gate, &pair.target]);
    pair.configure("", "");
    pair.refused("no-common-algorithm", &["the server offers aes128-cbc", "we offer", "Ciphers"]);
}

#[test]
fn a_fingerprint_of_another_type_is_found_through_a_bastion() {
    let pair = Pair::with("");
    pair.configure("", &format!("host-key=\"{}\"", pair.target.fingerprint("rsa")));
    pair.site.collect().expect_all();
    nothing_runs(&pair.site);
}

#[test]
fn a_client_that_is_down_behind_its_bastion_is_refused() {
    let mut pair = Pair::with("");
    pair.configure("", "");
    pair.target.stop();
    let collection = pair.refused("refused", &["gate cannot connect to it", "connect failed"]);
    assert!(!collection.only().message.contains("on the way"), "{collection:#?}");
}

#[test]
fn a_name_behind_a_bastion_is_the_bastions_to_resolve() {
    let pair = Pair::with("");
    let gate = pair.site.client(&pair.gate, "gate", "enabled=\"false\"", "");
    let web1 = pair.site.client(&pair.target, "web1", "proxy-jump=\"gate\"", "");
    let web1 = web1.replace("ip=\"127.0.0.1\"", "ip=\"nowhere.invalid\"");
    pair.site.configure(&format!("{gate}{web1}"));
    pair.refused("refused", &["gate cannot connect to it"]);
}

#[test]
fn a_bastion_that_hangs_leaves_nothing_behind() {
    let mut pair = Pair::with("");
    let silent = Silent::start();
    let ports = [pair.gate.port().to_string(), silent.port().to_string()];
    let gate = pair.site.client(&pair.gate, "gate", "enabled=\"false\"", "").replace(&ports[0], &ports[1]);
    let web1 = pair.site.client(&pair.target, "web1", "proxy-jump=\"gate\" timeout=\"2s\"", "");
    pair.site.configure(&format!("{gate}{web1}"));
    pair.refused("timeout", &["on the way, at gate:", "handshake"]);

    // The client behind it hangs: its connection is never made, or nobody speaks there.
    let hole = BlackHole::start();
    for (port, phase) in [(hole.port(), "connect"), (silent.port(), "handshake")] {
        let gate = pair.site.client(&pair.gate, "gate", "enabled=\"false\"", "");
        let web1 = pair.site.client(&pair.target, "web1", "proxy-jump=\"gate\" timeout=\"2s\"", "");
        let web1 = web1.replace(&pair.target.port().to_string(), &port.to_string());
        pair.site.configure(&format!("{gate}{web1}"));
        let collection = pair.refused("timeout", &[phase]);
        assert!(!collection.only().message.contains("on the way"), "{collection:#?}");
    }
    pair.gate.stop();
}

#[test]
fn trust_learns_the_bastion_and_then_what_is_behind() {
    let pair = Pair::with("");
    pair.site.write_known_hosts("");
    pair.configure("", "");
    let run = pair.site.collector(&["trust", "web1", "--yes"]).expect(0);
    let at = |text: &str| run.stdout.find(text).unwrap_or_else(|| panic!("{text} is not in {}", run.stdout));
    assert!(run.stdout.starts_with("gate  ") && run.stdout.contains("\nweb1  "), "{}", run.stdout);
    let gate = at(&format!("ssh-ed25519  {}", pair.gate.fingerprint("ed25519")));
    assert!(gate < at(&format!("ssh-ed25519  {}", pair.target.fingerprint("ed25519"))), "{}", run.stdout);
    pair.site.collect().expect_all();
    let again = pair.site.collector(&["trust", "web1", "--yes"]).expect(0);
    assert!(again.stdout.contains("known already"), "{}", again.stdout);
}

#[test]
fn check_host_tells_of_the_hop() {
    let pair = Pair::with("");
    pair.configure("", "");
    let shown = pair.site.collector(&["check-host", "web1"]).expect(0).stdout;
    let hop = shown.lines().nth(1).unwrap();
    assert!(hop.contains("ok    hop") && hop.contains(" s  gate: host key ssh-ed25519 SHA256:"), "{shown}");
    assert!(hop.contains("logged in by key"), "{shown}");
    assert!(shown.contains("connected through the proxy"), "{shown}");
    pair.know(&[&pair.target]);
    let shown = pair.site.collector(&["check-host", "web1"]).expect(1).stdout;
    assert!(shown.contains("FAIL  hop") && shown.contains("on the way, at gate: the host key"), "{shown}");
    assert!(shown.contains("-> ") && shown.contains("trust web1"), "{shown}");
}

#[test]
fn several_clients_share_a_bastion() {
    let pair = Pair::with("");
    let gate = pair.site.client(&pair.gate, "gate", "enabled=\"false\"", "");
    let clients: Vec<_> = (0..4)
        .map(|number| pair.site.client(&pair.target, &format!("web{number}"), "proxy-jump=\"gate\"", ""))
        .collect();
    pair.site.configure(&format!("<defaults concurrency=\"4\"/>{gate}{}", clients.concat()));
    assert_eq!(pair.site.collect().expect_all().collected, 4);
    assert_eq!(pair.gate.accepted(), 4, "each has a login of its own");
}

/// `ssh -W` through the bastion, as a command.
fn ssh_w(pair: &Pair) -> String {
    format!(
        "exec ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={} -i {} -p {} -W %h:%p {}",
        pair.site.text("known_hosts"),
        pair.gate.login_key().display(),
        pair.gate.port(),
        pair.gate.address()
    )
}

#[test]
fn a_command_is_the_connection() {
    let pair = Pair::with("");
    pair.by_command(&ssh_w(&pair), "");
    pair.site.collect().expect_all();
    assert_eq!((pair.gate.accepted(), pair.target.accepted()), (1, 1));
    nothing_runs(&pair.site);
}

#[test]
fn two_machines_at_one_address_are_told_apart_by_pins() {
    let (pair, other) = (Pair::with(""), Sshd::start());
    other.authorize(&pair.target.login_key().with_extension("pub"));
    pair.know(&[&pair.gate]);
    let beyond = ssh_w(&pair).replace("%h:%p", &format!("{}:{}", other.address(), other.port()));
    let configure = |pin: &str| {
        let web1 = pair.site.client(&pair.target, "web1", "", "");
        let web2 = pair.site.client(&pair.target, "web2", &format!("proxy-command=\"{beyond}\" {pin}"), "");
        pair.site.configure(&format!("{web1}{web2}"));
    };
    configure("");
    let run = pair.site.collector(&["trust", "--all", "--yes"]).expect(1);
    let line = run.stdout.lines().find(|line| line.contains(&other.fingerprint("ed25519"))).unwrap();
    assert!(line.starts_with("web2 ") && line.contains("give each its host-key"), "{}", run.stdout);
    let kept = std::fs::read_to_string(pair.site.path("state/known_hosts")).unwrap();
    assert_eq!(kept, format!("{} {}\n", pair.target.known_as(), pair.target.host_key("ed25519")));

    configure(&format!("host-key=\"{}\"", other.fingerprint("ed25519")));
    pair.site.collector(&["trust", "--all", "--yes"]).expect(0);
    pair.site.collect().expect_all();
    assert_eq!((pair.target.accepted(), other.accepted()), (1, 1));
}

#[test]
fn a_bastion_may_be_reached_by_a_command() {
    let pair = Pair::with("");
    let middle = Sshd::start();
    pair.know(&[&pair.gate, &pair.target, &middle]);
    let gate = format!("enabled=\"false\" proxy-command=\"{}\"", ssh_w(&pair));
    let gate = pair.site.client(&middle, "middle", &gate, "");
    let web1 = pair.site.client(&pair.target, "web1", "proxy-jump=\"middle\"", "");
    pair.site.configure(&format!("{gate}{web1}"));
    pair.site.collect().expect_all();
    assert_eq!((pair.gate.accepted(), middle.accepted(), pair.target.accepted()), (1, 1, 1));
    nothing_runs(&pair.site);
}

#[test]
fn a_command_may_say_megabytes() {
    let pair = Pair::with("");
    let noise = "(head -c 8000000 /dev/zero | tr '\\0' x) &gt;&amp;2; ";
    pair.by_command(&format!("{noise}{}", ssh_w(&pair)), "");
    pair.site.collect().expect_all();
    pair.by_command(&format!("{noise} sh -c 'echo no way out &gt;&amp;2; exit 7'"), "");
    pair.refused("proxy-command", &["exit status: 7", "no way out", "by hand"]);
}

#[test]
fn a_command_that_ends_or_never_answers_is_told_of() {
    let pair = Pair::with("");
    pair.by_command("exit 3", "");
    pair.refused("proxy-command", &["exit status: 3", "said nothing"]);
    pair.by_command("printf '\\033[2Jdead\\n' &gt;&amp;2; exit 4", "");
    let collection = pair.refused("proxy-command", &["\\u{1b}[2Jdead"]);
    assert!(!collection.only().message.contains('\x1b'));
    // What it starts ends with it, also what it put aside.
    pair.by_command("sleep 1000 &amp; sleep 1000", "timeout=\"2s\"");
    pair.refused("proxy-command", &["no answer in time", "still running"]);
    pair.by_command("yes &gt;&amp;2 &amp; sleep 1000", "timeout=\"2s\"");
    pair.refused("proxy-command", &["no answer in time"]);
}

#[test]
fn a_collector_that_is_killed_takes_everything_along() {
    let pair = Pair::with("");
    let silent = Silent::start();
    let ports = (pair.target.port().to_string(), silent.port().to_string());
    let gate = pair.site.client(&pair.gate, "gate", "enabled=\"false\"", "");
    let command = format!("proxy-command=\"{}\"", ssh_w(&pair));
    for proxy in ["proxy-jump=\"gate\"", &command] {
        let web1 = pair.site.client(&pair.target, "web1", proxy, "").replace(&ports.0, &ports.1);
        pair.site.configure(&format!("{gate}{web1}"));
        let mut collector = Command::new(programs::collector());
        pair.site.prepare(&mut collector);
        let mut collector = collector.spawn().unwrap();
        let _connection = silent.await_connection();
        collector.kill().unwrap();
        collector.wait().unwrap();
        nothing_runs(&pair.site);
    }
}
