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
        refused_before_login(&site.collect(), &sshd, "host-key-changed");
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
    refused_before_login(&site.collect(), &sshd, "host-key-changed");
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
