//! Hosts of an ssh_config become clients: what ssh itself says of them, as config.xml says it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use tests::programs;
use tests::site::{Run, Site};
use tests::sshd::make_key;

/// Imports `arguments` from a file of this text.
fn import(site: &Site, text: &str, arguments: &[&str]) -> Run {
    std::fs::write(site.path("ssh_config"), text).unwrap();
    let file = site.text("ssh_config");
    site.collector(&[&["import-ssh-config", "--file", &file], arguments].concat())
}

/// The schema and the program itself accept `elements`; what the program makes of them.
fn accepted(site: &Site, elements: &str) -> String {
    std::fs::write(site.path("hosts.xml"), format!("<config>\n{elements}</config>\n")).unwrap();
    let schema = programs::root().join("config/config.xsd");
    let mut lint = Command::new("xmllint");
    lint.args(["--noout", "--schema"]).arg(schema).arg(site.path("hosts.xml"));
    let lint = lint.output().expect("xmllint is installed (apt-get install libxml2-utils)");
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stderr));
    site.configure("<include file=\"hosts.xml\"/>");
    site.collector(&["check-config"]).expect(0).stdout
}

#[test]
fn every_keyword_that_config_xml_can_say_is_carried_over() {
    let site = Site::new();
    for key in ["one", "two"] {
        make_key(&site.path(key), "ed25519", "");
    }
    std::fs::write(site.path("hosts1"), "").unwrap();
    let text = format!(
        "Match exec \"test -e {0}/one\"\n  Port 2201\n\
         Host web*\n  User ops\n  IdentityFile {0}/one\n  IdentityFile {0}/two\n  UserKnownHostsFile {0}/hosts1 {0}/absent\n\
         Host web1\n  HostName 192.0.2.1\n  IdentityAgent {0}/agent.sock\n  ProxyJump gate\n\
         Host web2\n  HostName 2001:db8::2\n  ProxyCommand nc -X 5 \"%h\" %p\n\
         Host gate\n  HostName gate.example.org\n  User jump\n",
        site.path("").display().to_string().trim_end_matches('/')
    );
    let run = import(&site, &text, &["--all"]).expect(0);
    let place = site.text("");
    let place = place.trim_end_matches('/');
    let user = tests::user();
    let keys = format!("identity-file=\"{place}/one {place}/two\" known-hosts=\"{place}/hosts1\"");
    let expected = format!(
        "  <client name=\"web1\" ip=\"192.0.2.1\" port=\"2201\" username=\"ops\" {keys} \
         identity-agent=\"{place}/agent.sock\" proxy-jump=\"gate\"/>\n\
         \x20 <client name=\"web2\" ip=\"2001:db8::2\" port=\"2201\" username=\"ops\" {keys} \
         proxy-command=\"nc -X 5 &quot;%h&quot; %p\"/>\n\
         \x20 <client name=\"gate\" ip=\"gate.example.org\" port=\"2201\" username=\"jump\"/>\n"
    );
    assert_eq!(format!("{}\n", run.stdout.trim_end_matches('\n')), expected, "as {user}: {}", run.stderr);
    let means = accepted(&site, &run.stdout);
    assert!(means.contains("web1") && means.contains("gate.example.org"), "{means}");
}

#[test]
fn a_hop_that_nobody_asked_for_comes_along_with_its_key_and_its_own_way() {
    let site = Site::new();
    make_key(&site.path("one"), "ed25519", "");
    let key = site.text("one");
    let text = format!(
        "Host web*\n  HostName 192.0.2.1\n  User ops\n  ProxyJump gate\n\
         Host gate\n  HostName 192.0.2.9\n  Port 2222\n  User jump\n  IdentityFile {key}\n  ProxyJump outer\n\
         Host outer\n  User jump\n"
    );
    let run = import(&site, &text, &["web1", "web2"]).expect(0);
    let client = |name: &str| {
        format!("  <client name=\"{name}\" ip=\"192.0.2.1\" username=\"ops\" proxy-jump=\"gate\"/>\n")
    };
    let hops = format!(
        "  <client name=\"gate\" ip=\"192.0.2.9\" port=\"2222\" username=\"jump\" identity-file=\"{key}\" \
         proxy-jump=\"outer\" enabled=\"false\"/>\n  \
         <client name=\"outer\" ip=\"outer\" username=\"jump\" enabled=\"false\"/>\n"
    );
    assert_eq!(format!("{}\n", run.stdout.trim_end_matches('\n')), client("web1") + &client("web2") + &hops);
    for part in ["gate: on the way to web1: ", "outer: on the way to gate: "] {
        assert_eq!(run.stderr.matches(part).count(), 1, "{part}: {}", run.stderr);
    }
    accepted(&site, &run.stdout);
}

#[test]
fn a_hop_is_taken_with_the_login_and_the_port_that_are_written() {
    let site = Site::new();
    let text = "Host *\n  User ops\nHost web1\n  ProxyJump admin@gate:2022,admin@[fd00::1]:2022\n\
                Host web2\n  ProxyJump ssh://other@gate:2022,[192.0.2.7]\n";
    let run = import(&site, text, &["web1", "web2"]).expect(0);
    for element in [
        "name=\"web1\" ip=\"web1\" username=\"ops\" proxy-jump=\"gate fd00::1\"/>",
        "name=\"web2\" ip=\"web2\" username=\"ops\" proxy-jump=\"other@gate:2022 192.0.2.7\"/>",
        "name=\"gate\" ip=\"gate\" port=\"2022\" username=\"admin\" enabled=\"false\"/>",
        "name=\"fd00::1\" ip=\"fd00::1\" port=\"2022\" username=\"admin\" enabled=\"false\"/>",
        "name=\"192.0.2.7\" ip=\"192.0.2.7\" username=\"ops\" enabled=\"false\"/>",
    ] {
        assert!(run.stdout.contains(element), "{element}: {}", run.stdout);
    }
    let remark =
        "web2: the hop gate: another login or port than the client of that name: it is other@gate:2022";
    assert!(run.stderr.contains(remark), "{}", run.stderr);
    accepted(&site, &run.stdout);
}

#[test]
fn a_host_that_config_xml_would_be_refused_for_is_left_out_with_the_cause() {
    let site = Site::new();
    let text = "Host web1\n  User ops\n  ProxyJump gate\nHost gate\n  ProxyCommand nc %n %p\nHost web2\n  User ops\n";
    let run = import(&site, text, &["--all"]).expect(1);
    assert_eq!(run.stdout, "  <client name=\"web2\" ip=\"web2\" username=\"ops\"/>\n");
    for part in ["gate: left out: \"%n\" is not known in a proxy-command; expected: %h", "web1: left out: "] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    accepted(&site, &run.stdout);
}

#[test]
fn accept_new_is_carried_over_and_no_check_at_all_is_not() {
    let site = Site::new();
    let text = "Host *\n  User ops\nHost web1\n  StrictHostKeyChecking accept-new\nHost web2\n  StrictHostKeyChecking no\n\
                Host web3\n  StrictHostKeyChecking yes\n";
    let run = import(&site, text, &["--all"]).expect(0);
    let client = |name: &str, policy: &str| {
        format!("  <client name=\"{name}\" ip=\"{name}\" username=\"ops\"{policy}/>\n")
    };
    let accepting = client("web1", " host-key-policy=\"accept-new\"");
    assert_eq!(
        format!("{}\n", run.stdout.trim_end_matches('\n')),
        accepting + &client("web2", "") + &client("web3", "")
    );
    assert_eq!(
        run.stderr,
        "web1: StrictHostKeyChecking accept-new: its first host key will be accepted; beside a password that is a fault\n\
         web2: StrictHostKeyChecking no: config.xml cannot say that; host keys are always verified\n"
    );
    assert!(accepted(&site, &run.stdout).contains("accepts new host keys"));
}

#[test]
fn what_cannot_be_carried_over_is_said() {
    let site = Site::new();
    let text = "Host web1\n  User ops\n  IdentityFile /nonexistent/key\n  HostKeyAlias alias\n  BindAddress 192.0.2.7\n  \
                CertificateFile /nonexistent/cert\n  IdentityAgent none\n";
    let run = import(&site, text, &["web1"]).expect(0);
    assert_eq!(run.stdout, "  <client name=\"web1\" ip=\"web1\" username=\"ops\"/>\n");
    for part in [
        "web1: /nonexistent/key: is not there; left out",
        "web1: hostkeyalias alias: config.xml cannot say that",
        "web1: bindaddress 192.0.2.7: config.xml cannot say that",
        "web1: certificatefile /nonexistent/cert: config.xml cannot say that",
        "web1: IdentityAgent none",
    ] {
        assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
    }
    accepted(&site, &run.stdout);
}

#[test]
fn patterns_are_no_hosts_and_what_ssh_refuses_is_said() {
    let site = Site::new();
    let run = import(&site, "Host web*\n  User ops\n", &["web*", "web1"]).expect(1);
    assert!(run.stderr.contains("web*: left out: it is a pattern"), "{}", run.stderr);
    assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
    let broken = import(&site, "Host web1\n  Prot 22\n", &["web1"]).expect(1);
    assert!(broken.stderr.contains("ssh -G web1: ") && broken.stderr.contains("line 2"), "{}", broken.stderr);
    let none = import(&site, "Host *\n  User ops\n", &["--all"]).expect(2);
    assert!(none.stderr.contains("names no host"), "{}", none.stderr);
}

#[test]
fn included_files_lie_where_ssh_looks_for_them() {
    let site = Site::new();
    for (file, text) in [("home/.ssh/d/1", "Host web1\n  User ops\n"), ("d/1", "Host beside\n")] {
        std::fs::create_dir_all(site.path(file).parent().unwrap()).unwrap();
        std::fs::write(site.path(file), text).unwrap();
    }
    let run = import(&site, "Include d/[0-9] absent/*\n", &["--all"]).expect(0);
    assert_eq!(run.stdout, "  <client name=\"web1\" ip=\"web1\" username=\"ops\"/>\n");
    assert!(run.stderr.contains("Include absent/*: there is no such file"), "{}", run.stderr);
}

#[test]
fn what_is_there_is_not_overwritten() {
    let site = Site::new();
    let write = format!("--write={}", site.text("new/hosts.xml"));
    let run = import(&site, "Host web1\n  User ops\n", &["--all", &write]).expect(0);
    assert!(run.stdout.contains("<include file="), "{}", run.stdout);
    let written = std::fs::read_to_string(site.path("new/hosts.xml")).unwrap();
    assert_eq!(written, "<config>\n  <client name=\"web1\" ip=\"web1\" username=\"ops\"/>\n</config>\n");
    let again = import(&site, "Host web2\n", &["--all", &write]).expect(1);
    assert!(again.stderr.contains("new/hosts.xml: "), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(site.path("new/hosts.xml")).unwrap(), written);
}
