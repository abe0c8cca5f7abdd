//! The ways in to a client: addresses, agents, several keys, algorithms; each through a real sshd.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use tests::agent::Agent;
use tests::site::Site;
use tests::sshd::{Sshd, make_key};

/// A site with one client of one server that has these lines in its sshd_config.
fn site_with(options: &str, attributes: &str) -> (Site, Sshd) {
    let (site, sshd) = (Site::new(), Sshd::with(options));
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web1", attributes, ""));
    (site, sshd)
}

/// The only client's outcome, and its message.
#[track_caller]
fn refused(site: &Site, outcome: &str) -> String {
    let collection = site.collect();
    assert_eq!(collection.only().outcome, outcome, "{collection:#?}");
    collection.only().message.clone()
}

#[test]
fn an_address_of_ipv6_serves() {
    let (site, sshd) = (Site::new(), Sshd::on(&["::1".to_owned()], ""));
    site.write_known_hosts(&format!("[::1]:{} {}\n", sshd.port(), sshd.host_key("ed25519")));
    site.configure(&site.client(&sshd, "web1", "", ""));
    site.collect().expect_all();
}

#[test]
fn an_address_of_ipv6_can_be_trusted() {
    let (site, sshd) = (Site::new(), Sshd::on(&["::1".to_owned()], ""));
    site.configure(&site.client(&sshd, "web1", "", ""));
    site.collector(&["trust", "--all", "--yes"]).expect(0);
    let known = std::fs::read_to_string(site.path("state/known_hosts")).unwrap();
    assert!(known.starts_with(&format!("[::1]:{} ssh-ed25519 ", sshd.port())), "{known}");
    site.collect().expect_all();
}

#[test]
fn several_keys_are_tried_in_their_order() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    make_key(&site.path("stranger"), "ed25519", "");
    let right = sshd.login_key();
    let attributes = format!("identity-file=\"{}, {}\"", site.text("stranger"), right.display());
    site.configure(&site.client(&sshd, "web1", &attributes, ""));
    site.collect().expect_all();
    let log = sshd.log();
    let failed = log.find("Failed publickey").unwrap_or_else(|| panic!("{log}"));
    assert!(failed < log.find("Accepted publickey").unwrap(), "{log}");
}

/// An agent with three keys that the server does not take, and then the one that it takes.
fn agent_of_four(site: &Site, sshd: &Sshd) -> Agent {
    let agent = Agent::start(&site.path("home"));
    for number in 1..=3 {
        make_key(&site.path(&format!("stranger{number}")), "ed25519", "");
        agent.add(&site.path(&format!("stranger{number}")));
    }
    agent.add(&sshd.login_key());
    agent
}

#[test]
fn an_agent_with_several_keys_logs_in() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    let agent = agent_of_four(&site, &sshd);
    let attributes = format!("identity-agent=\"{}\"", agent.socket().display());
    site.configure(&site.client(&sshd, "web1", &attributes, ""));
    site.collect().expect_all();
}

#[test]
fn a_server_that_has_enough_of_keys_is_told_of() {
    let (site, sshd) = (Site::new(), Sshd::with("MaxAuthTries 2"));
    site.know(&sshd);
    let agent = agent_of_four(&site, &sshd);
    let attributes = format!("identity-agent=\"{}\"", agent.socket().display());
    site.configure(&site.client(&sshd, "web1", &attributes, ""));
    let message = refused(&site, "auth-refused");
    assert!(message.contains("MaxAuthTries") && message.contains("identity-file"), "{message}");

    // As it says: the public half names the key, and the agent has the private one.
    let public = format!("{}.pub", sshd.login_key().display());
    site.configure(&site.client(&sshd, "web1", &format!("{attributes} identity-file=\"{public}\""), ""));
    let before = sshd.log().len();
    site.collect().expect_all();
    let log = sshd.log().split_off(before);
    assert!(log.contains("Accepted publickey") && !log.contains("Failed publickey"), "{log}");
}

#[test]
fn a_key_that_the_agent_does_not_hold_is_named() {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    let agent = Agent::start(&site.path("home"));
    let public = format!("{}.pub", sshd.login_key().display());
    let attributes = format!("identity-agent=\"{}\" identity-file=\"{public}\"", agent.socket().display());
    site.configure(&site.client(&sshd, "web1", &attributes, ""));
    let message = refused(&site, "credential");
    assert!(message.contains(&public) && message.contains("ssh-add"), "{message}");
}

#[test]
fn a_server_with_nothing_but_rsa_serves() {
    let (site, sshd) = site_with("HostKeyAlgorithms rsa-sha2-512,rsa-sha2-256", "");
    site.write_known_hosts(&format!("{} {}\n", sshd.known_as(), sshd.host_key("rsa")));
    site.collect().expect_all();
}

#[test]
fn what_the_two_sides_do_not_share_is_named() {
    for (options, named) in [
        ("KexAlgorithms sntrup761x25519-sha512@openssh.com", "KexAlgorithms"),
        ("HostKeyAlgorithms ssh-rsa", "HostKeyAlgorithms"),
        ("Ciphers aes128-cbc", "Ciphers"),
        ("Ciphers aes256-ctr\nMACs hmac-sha1", "MACs"),
    ] {
        let (site, _sshd) = site_with(options, "");
        let message = refused(&site, "no-common-algorithm");
        let theirs = options.split_whitespace().last().unwrap();
        for part in [&format!("the server offers {theirs}"), named, "we offer ", "sshd_config"] {
            assert!(message.contains(part), "{part} of {message}");
        }
    }
}
