//! Host keys against a real sshd: nothing but an explicit match gets as far as a login.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use tests::child;
use tests::site::{Collection, Site};
use tests::sshd::{Sshd, make_key};

/// A site with one client of one server, whose keys nobody knows yet.
fn site() -> (Site, Sshd) {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.configure(&site.client(&sshd, "web1", "", ""));
    (site, sshd)
}

/// The outcome, and that the server never saw a try to log in.
#[track_caller]
fn refused_before_login(collection: &Collection, sshd: &Sshd, outcome: &str) {
    assert_eq!(collection.run.code, Some(1));
    assert_eq!(collection.only().outcome, outcome, "{collection:#?}");
    child::until("sshd logs the end of the connection", || sshd.log().contains("[preauth]"));
    for word in ["authenticating user", "Accepted", "Failed"] {
        assert!(!sshd.log().contains(word), "there was a login: {}", sshd.log());
    }
}

#[test]
fn an_unknown_key_is_refused_until_it_is_trusted() {
    let (site, sshd) = site();
    let collection = site.collect();
    refused_before_login(&collection, &sshd, "host-key-unknown");
    assert!(collection.only().message.contains("SHA256:"), "{collection:#?}");

    let run = site.collector(&["trust", "web1", "--yes"]).expect(0);
    assert!(run.stdout.contains(&sshd.fingerprint("ed25519")), "{}", run.stdout);
    site.collect().expect_all();
}

#[test]
fn trust_without_an_answer_writes_nothing() {
    let (site, sshd) = site();
    let run = site.collector(&["trust", "web1"]);
    assert_ne!(run.code, Some(0), "{run:?}");
    refused_before_login(&site.collect(), &sshd, "host-key-unknown");
}

#[test]
fn trust_takes_a_group_or_all() {
    for what in ["@web", "--all"] {
        let (site, first, second) = (Site::new(), Sshd::start(), Sshd::start());
        let clients = [
            site.client(&first, "web1", "group=\"web\"", ""),
            site.client(&second, "web2", "group=\"web\"", ""),
        ];
        site.configure(&clients.concat());
        let run = site.collector(&["trust", what, "--yes"]).expect(0);
        for sshd in [&first, &second] {
            assert!(run.stdout.contains(&sshd.fingerprint("ed25519")), "{}", run.stdout);
        }
        site.collect().expect_all();
    }
}

#[test]
fn a_changed_key_never_sees_a_credential() {
    let (site, mut sshd) = site();
    site.collector(&["trust", "--all", "--yes"]).expect(0);
    site.collect().expect_all();
    sshd.replace_host_keys();
    let collection = site.collect();
    refused_before_login(&collection, &sshd, "host-key-changed");
    assert!(collection.only().message.contains("CHANGED"), "{collection:#?}");
}

#[test]
fn trust_does_not_replace_a_changed_key() {
    let (site, mut sshd) = site();
    site.collector(&["trust", "--all", "--yes"]).expect(0);
    sshd.replace_host_keys();
    let run = site.collector(&["trust", "--all", "--yes"]);
    assert_ne!(run.code, Some(0), "{run:?}");
    refused_before_login(&site.collect(), &sshd, "host-key-changed");
}

#[test]
fn a_pin_decides() {
    let (right, wrong) = (Sshd::start(), Sshd::start());
    for pin in [right.host_key("ed25519"), right.host_key("rsa"), right.fingerprint("ed25519")] {
        let site = Site::new();
        site.configure(&site.client(&right, "web1", &format!("host-key=\"{pin}\""), ""));
        site.collect().expect_all();
    }
    for pin in [wrong.host_key("ed25519"), wrong.fingerprint("ed25519")] {
        let (site, sshd) = (Site::new(), Sshd::start());
        // known_hosts would say yes: the pin wins.
        site.know(&sshd);
        site.configure(&site.client(&sshd, "web1", &format!("host-key=\"{pin}\""), ""));
        let collection = site.collect();
        refused_before_login(&collection, &sshd, "host-key-changed");
        let message = &collection.only().message;
        assert!(message.contains("write it into host-key") && !message.contains("known_hosts"), "{message}");
    }
}

#[test]
fn known_hosts_says_yes_in_each_of_its_forms() {
    let (site, sshd) = site();
    let (key, name) = (sshd.host_key("ed25519"), sshd.known_as());
    let other = Sshd::start().host_key("ed25519");
    let forms = [
        format!("{name} {key}\n"),
        format!("{name} {key} a comment\r\n"),
        format!("elsewhere.example,{name} {key}\n"),
        format!("[127.0.0.*]:{} {key}\n", sshd.port()),
        format!("[127.0.?.1]:* {key}\n"),
        format!("# a comment\n\nnot a line\n{name} ssh-ed25519 notbase64\n{name} {key}\n"),
        format!("{name} {other}\n{name} {key}\n"),
        format!("[127.0.0.9]:* {other}\n{name} {}\n", sshd.host_key("rsa")),
        format!("{name} {}\n", sshd.host_key("ecdsa")),
    ];
    for form in forms {
        site.write_known_hosts(&form);
        let collection = site.collect();
        assert_eq!(collection.only().outcome, "collected", "{form}{}", collection.only().message);
    }
}

#[test]
fn a_hashed_known_hosts_serves() {
    let (site, sshd) = site();
    site.know(&sshd);
    child::output("ssh-keygen", &["-q", "-H", "-f", &site.text("known_hosts")]);
    let hashed = std::fs::read_to_string(site.path("known_hosts")).unwrap();
    assert!(hashed.starts_with("|1|") && !hashed.contains("127.0.0.1"), "{hashed}");
    site.collect().expect_all();
}

#[test]
fn known_hosts_lines_that_are_about_others_say_nothing() {
    let (site, sshd) = site();
    let key = sshd.host_key("ed25519");
    let port = sshd.port();
    for form in [
        String::new(),
        format!("127.0.0.1 {key}\n"),
        format!("[127.0.0.1]:{} {key}\n", port.wrapping_add(1).max(1)),
        format!("[127.0.0.*]:{port},!{} {key}\n", sshd.known_as()),
    ] {
        site.write_known_hosts(&form);
        let collection = site.collect();
        assert_eq!(collection.only().outcome, "host-key-unknown", "{form}{}", collection.only().message);
        assert_eq!(sshd.accepted(), 0, "{form}");
    }
}

#[test]
fn a_revoked_key_is_refused_whatever_else_says_yes() {
    let (site, sshd) = site();
    let (name, key) = (sshd.known_as(), sshd.host_key("ed25519"));
    site.write_known_hosts(&format!("{name} {key}\n@revoked * {key}\n"));
    let collection = site.collect();
    refused_before_login(&collection, &sshd, "host-key-changed");
    let message = &collection.only().message;
    assert!(message.contains("give the machine a new host key") && !message.contains("remove"), "{message}");
}

/// A server with a certificate by `ca` of the site, and the line that makes this the authority for it.
fn certified(arguments: &[&str]) -> (Site, Sshd, String) {
    let (site, mut sshd) = site();
    make_key(&site.path("ca"), "ed25519", "");
    sshd.certify(&site.path("ca"), arguments);
    let ca = std::fs::read_to_string(site.path("ca.pub")).unwrap();
    let line = format!("@cert-authority [127.0.0.*]:{} {ca}", sshd.port());
    (site, sshd, line)
}

#[test]
fn a_certificate_of_a_known_authority_is_as_good_as_the_key() {
    let (site, sshd, authority) = certified(&["-n", "other,127.0.0.1", "-V", "-1h:+1h"]);
    site.write_known_hosts(&authority);
    let run = site.collector(&["trust", "web1", "--yes"]).expect(0);
    assert!(run.stdout.contains("certified by the authority at"), "{}", run.stdout);
    site.collect().expect_all();
    assert!(!site.path("state/known_hosts").exists(), "there was nothing to write down");

    // The plain key, as before there was a certificate.
    site.write_known_hosts(&format!("{} {}\n", sshd.known_as(), sshd.host_key("ed25519")));
    site.collect().expect_all();
}

#[test]
fn a_certificate_that_does_not_hold_ends_it_before_any_login() {
    for (arguments, why) in [
        (&["-n", "127.0.0.1", "-V", "-2h:-1h"][..], "expired"),
        (&["-n", "127.0.0.1"], "has no end"),
        (&["-n", "web1.example", "-V", "-1h:+1h"], "is for web1.example, not for 127.0.0.1"),
    ] {
        let (site, sshd, authority) = certified(arguments);
        site.write_known_hosts(&authority);
        let collection = site.collect();
        refused_before_login(&collection, &sshd, "host-key-unknown");
        assert!(collection.only().message.contains(why), "{collection:#?}");
        // Where the key itself is known, its certificate does not matter.
        site.write_known_hosts(&format!("{authority}{} {}\n", sshd.known_as(), sshd.host_key("ed25519")));
        site.collect().expect_all();
    }
}

#[test]
fn a_certificate_of_another_authority_or_of_a_revoked_key_is_refused() {
    let (site, sshd, authority) = certified(&["-n", "127.0.0.1", "-V", "-1h:+1h"]);
    site.write_known_hosts(&authority.replace(
        authority.split_whitespace().nth(3).unwrap(),
        sshd.host_key("ed25519").split_whitespace().nth(1).unwrap(),
    ));
    let collection = site.collect();
    refused_before_login(&collection, &sshd, "host-key-unknown");
    assert!(collection.only().message.contains("another authority"), "{collection:#?}");

    site.write_known_hosts(&format!("{authority}@revoked * {}\n", sshd.host_key("ed25519")));
    refused_before_login(&site.collect(), &sshd, "host-key-changed");
}

/// A site with one client whose first key is accepted.
fn accepting() -> (Site, Sshd) {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.configure(&site.client(&sshd, "web1", "host-key-policy=\"accept-new\"", ""));
    (site, sshd)
}

fn kept(site: &Site) -> String {
    std::fs::read_to_string(site.path("state/known_hosts")).unwrap()
}

#[test]
fn accept_new_takes_the_first_key_and_no_other() {
    let (site, mut sshd) = accepting();
    let dry = site.collector(&["run", "--dry-run"]).expect(0);
    assert!(dry.stdout.contains("the first is accepted"), "{}", dry.stdout);
    let first = site.collect().expect_all();
    let fingerprint = sshd.fingerprint("ed25519");
    assert!(first.run.stderr.contains("accept-new") && first.run.stderr.contains(&fingerprint), "{first:#?}");
    assert_eq!(kept(&site), format!("{} {}\n", sshd.known_as(), sshd.host_key("ed25519")));
    assert_eq!(sshd.accepted(), 1);

    let second = site.collect().expect_all();
    assert_eq!(second.run.stderr, "", "it is told once");
    let before = kept(&site);
    sshd.replace_host_keys();
    refused_before_login(&site.collect(), &sshd, "host-key-changed");
    assert_eq!(kept(&site), before);
}

#[test]
fn accept_new_writes_an_address_once_however_many_clients_have_it() {
    let (site, sshd) = (Site::new(), Sshd::start());
    let clients: Vec<_> = (0..4)
        .map(|number| site.client(&sshd, &format!("web{number}"), "host-key-policy=\"accept-new\"", ""))
        .collect();
    site.configure(&clients.concat());
    let collection = site.collect().expect_all();
    assert_eq!(collection.run.stderr.matches("accept-new").count(), 1, "{}", collection.run.stderr);
    assert_eq!(kept(&site).lines().count(), 1);
}

#[test]
fn accept_new_holds_for_bastions_too() {
    let (site, gate, sshd) = (Site::new(), Sshd::start(), Sshd::start());
    let bastion = site.client(&gate, "gate", "enabled=\"false\" host-key-policy=\"accept-new\"", "");
    let client = |policy: &str| site.client(&sshd, "web1", &format!("proxy-jump=\"gate\" {policy}"), "");
    site.configure(&format!("{bastion}{}", client("")));
    let collection = site.collect();
    assert_eq!(collection.only().outcome, "host-key-unknown", "the client's own policy is strict");
    assert_eq!(kept(&site), format!("{} {}\n", gate.known_as(), gate.host_key("ed25519")));
    site.configure(&format!("{bastion}{}", client("host-key-policy=\"accept-new\"")));
    site.collect().expect_all();
    assert_eq!(kept(&site).lines().count(), 2);
    assert_eq!((gate.accepted(), sshd.accepted()), (2, 1));
}

#[test]
fn accept_new_takes_nothing_where_anything_is_known() {
    let (site, sshd) = accepting();
    site.write_known_hosts(&format!("@revoked * {}\n", sshd.host_key("ed25519")));
    refused_before_login(&site.collect(), &sshd, "host-key-changed");

    let (site, sshd, authority) = certified(&["-n", "127.0.0.1", "-V", "-2h:-1h"]);
    site.configure(&site.client(&sshd, "web1", "host-key-policy=\"accept-new\"", ""));
    site.write_known_hosts(&authority);
    let collection = site.collect();
    refused_before_login(&collection, &sshd, "host-key-unknown");
    assert!(collection.only().message.contains("expired"), "{collection:#?}");
}

#[test]
fn what_is_known_and_cannot_be_read_is_not_nothing() {
    for policy in ["strict", "accept-new"] {
        let (site, sshd) = (Site::new(), Sshd::start());
        site.configure(&site.client(&sshd, "web1", &format!("host-key-policy=\"{policy}\""), ""));
        // Its user may not read it, or the disk has an error: here it is a directory.
        std::fs::create_dir(site.path("known_hosts")).unwrap();
        let collection = site.collect();
        assert_eq!(collection.only().outcome, "known-hosts", "{collection:#?}");
        let message = &collection.only().message;
        assert!(message.contains(&site.text("known_hosts")) && message.contains("read it"), "{message}");
        assert_eq!(sshd.accepted(), 0);
        assert!(!site.path("state/known_hosts").exists(), "nothing was accepted");
    }
}

#[test]
fn a_line_that_cannot_be_read_forbids_to_accept() {
    let (site, sshd) = accepting();
    let bad = |names: &str| format!("{names} ssh-ed25519 notbase64\n");
    site.write_known_hosts(&bad(&sshd.known_as()));
    let collection = site.collect();
    refused_before_login(&collection, &sshd, "known-hosts");
    let message = &collection.only().message;
    assert!(message.contains(&format!("{}:1 may be about it", site.text("known_hosts"))), "{message}");
    assert!(message.contains(&sshd.fingerprint("ed25519")), "{message}");

    // What is unreadable about a revocation forbids more: also the key that is known.
    let known = format!("{} {}\n", sshd.known_as(), sshd.host_key("ed25519"));
    site.write_known_hosts(&format!("{}{known}", bad("@revoked *")));
    let collection = site.collect();
    assert_eq!(collection.only().outcome, "known-hosts", "{collection:#?}");
    assert!(collection.only().message.contains("revokes a key"), "{collection:#?}");
    assert_eq!(sshd.accepted(), 0);

    site.write_known_hosts(&bad("@revoked elsewhere.example,another"));
    site.collect().expect_all();
}

#[test]
fn a_key_that_cannot_be_written_down_is_not_accepted() {
    let (site, sshd) = accepting();
    // Nobody can take turns there.
    std::fs::create_dir_all(site.path("state/known_hosts.lock")).unwrap();
    let collection = site.collect();
    refused_before_login(&collection, &sshd, "host-key-not-kept");
    let message = &collection.only().message;
    assert!(message.contains("state/known_hosts") && message.contains("let the user who runs"), "{message}");
    assert!(message.contains(&sshd.fingerprint("ed25519")), "{message}");
}
