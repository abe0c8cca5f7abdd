//! What a person types, and what they get to see.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use tests::programs;
use tests::site::Site;
use tests::sshd::Sshd;
use tests::terminal::{blurred, show, transcript_of_readme};

/// A home whose ssh_config has ten hosts, and `fleet-collector` in its PATH as after an installation.
fn ten_hosts(site: &Site) -> Sshd {
    let addresses: Vec<String> = (2..12).map(|host| format!("127.0.0.{host}")).collect();
    let sshd = Sshd::on(&addresses, "");
    for directory in ["home/.ssh", "bin"] {
        std::fs::create_dir(site.path(directory)).unwrap();
    }
    std::fs::copy(sshd.login_key(), site.path("home/.ssh/id_ops")).unwrap();
    let (user, port) = (tests::user(), sshd.port());
    let mut file = format!("Host web? db?\n  User {user}\n  Port {port}\n  IdentityFile ~/.ssh/id_ops\n");
    for (host, address) in addresses.iter().enumerate() {
        let (kind, number) = if host < 6 { ("web", host + 1) } else { ("db", host - 5) };
        let _ = write!(file, "Host {kind}{number}\n  HostName {address}\n");
    }
    std::fs::write(site.path("home/.ssh/config"), file).unwrap();
    // ssh looks into the home that passwd(5) names, whatever HOME says; and root's config.xml lies in /etc.
    let wrapper = format!(
        "#!/bin/sh\ncase $1 in import-*) shift; set -- import-ssh-config --file ~/.ssh/config \"$@\";; esac\n\
         exec {} --config ~/.config/fleet-health/config.xml \"$@\"\n",
        programs::collector().display()
    );
    std::fs::write(site.path("bin/fleet-collector"), wrapper).unwrap();
    std::fs::set_permissions(site.path("bin/fleet-collector"), std::fs::Permissions::from_mode(0o755))
        .unwrap();
    sshd
}

/// The transcript of the README, typed anew.
#[test]
fn ten_hosts_of_an_ssh_config_are_collected_after_three_commands() {
    let site = Site::new();
    let _sshd = ten_hosts(&site);
    let (mut seen, mut typed) = (String::new(), 0);
    for (command, question, answer) in [
        ("fleet-collector import-ssh-config --all --write", "", ""),
        ("fleet-collector trust --all", "[y/N] ", "y\n"),
        ("fleet-collector", "", ""),
    ] {
        let path = format!("PATH={}:$PATH; {command}", site.text("bin"));
        let shown = show(&site, &path, question, answer);
        assert_eq!(shown.code, Some(0), "{command}: {}", shown.raw);
        let _ = write!(seen, "$ {command}\n{}", shown.text());
        typed += command.len() + 1 + answer.len();
        if command.contains("import") {
            // Root's storage, and the directory below the login's home, would be this machine's own.
            let config = site.path("home/.config/fleet-health/config.xml");
            let text = std::fs::read_to_string(&config).unwrap();
            let storage = site.text("home/.local/state/fleet-health/fleet.db");
            let storage = format!(
                "<config>\n<storage url=\"sqlite://{storage}\"/>\n<defaults remote-dir=\"{}\"/>",
                site.text("clients")
            );
            std::fs::write(config, text.replacen("<config>", &storage, 1)).unwrap();
        }
    }
    tests::tell(&format!("ten hosts of an ssh_config, collected: {typed} characters typed"));
    assert!(typed < 150, "a minute of typing is about 200 characters: {typed}");
    let seen = seen.replace(&site.text("home"), "/home/me");
    let readme = transcript_of_readme("$ fleet-collector import-ssh-config");
    assert_eq!(blurred(&seen), blurred(&readme), "what was seen:\n{seen}");
}

/// A site of one client that can be collected.
fn one_client() -> (Site, Sshd) {
    let (site, sshd) = (Site::new(), Sshd::start());
    site.know(&sshd);
    site.configure(&site.client(&sshd, "web1", "", ""));
    (site, sshd)
}

#[test]
fn a_person_at_a_terminal_sees_how_far_it_is_and_nothing_of_it_stays() {
    let (site, _sshd) = one_client();
    let run = |options: &str| {
        let command =
            format!("{} --config {} {options}", programs::collector().display(), site.text("config.xml"));
        show(&site, &command, "", "")
    };
    let shown = run("");
    assert_eq!(shown.code, Some(0), "{}", shown.raw);
    assert!(shown.raw.contains("\r\x1b[K0 of 1 clients, 1 under way: web1 0 s"), "{:?}", shown.raw);
    let text = shown.text();
    assert!(text.starts_with("collected 1 of 1 clients"), "{text:?}");
    for quiet in ["--json", "-v", "-q", "2>/dev/null", "2>&1 | cat"] {
        let shown = run(quiet);
        assert!(
            !shown.raw.contains('\x1b') && !shown.raw.contains("of 1 clients,"),
            "{quiet}: {:?}",
            shown.raw
        );
    }
}

/// What a command said in a site, with the places of the README.
fn told(site: &Site, sshd: &Sshd, said: &str) -> String {
    let places = [
        (site.remote_dir("web1").display().to_string(), "/home/ops/.fleet-health"),
        (sshd.login_key().display().to_string(), "/home/me/.ssh/id_ops"),
        (site.text("known_hosts"), "/home/me/.ssh/known_hosts"),
    ];
    let said = places.iter().fold(said.to_owned(), |said, (place, shown)| said.replace(place, shown));
    said.replace(" behind ours", " ahead of ours")
}

#[test]
fn a_walk_can_be_followed() {
    let (site, sshd) = one_client();
    let walk = || {
        let run = site.collector(&["-v", "--only", "web1"]).expect(0);
        format!("$ fleet-collector -v --only web1\n{}{}", told(&site, &sshd, &run.stderr), run.stdout)
    };
    let readme = transcript_of_readme("$ fleet-collector -v").replace("x86_64", std::env::consts::ARCH);
    let first = walk();
    assert_eq!(blurred(&first), blurred(&readme), "what was seen:\n{first}");

    // The next time the probe is there.
    let sent = |line: &&str| {
        !["is not there", "sending the probe", "was sent to"].iter().any(|part| line.contains(part))
    };
    let mut lines: Vec<&str> = readme.lines().filter(sent).collect();
    lines.dedup_by_key(|line| line.split_once(" s  ").map_or(*line, |(_, text)| text));
    let (again, expected) =
        (walk(), format!("{}\n", lines.join("\n")).replace("1 new record, probe sent to 1", "0 new records"));
    assert_eq!(blurred(&again), blurred(&expected), "what was seen:\n{again}");
}

#[test]
fn every_stage_of_a_check_is_shown_with_its_time() {
    let (site, sshd) = one_client();
    site.collect().expect_all();
    let run = site.collector(&["check-host", "web1"]).expect(0);
    let seen = format!("$ fleet-collector check-host web1\n{}", told(&site, &sshd, &run.stdout));
    // What this machine is, and what it calls its spool.
    let stable = |text: &str| {
        let machine = |line: &str| line.split_once(" on ").map_or(line, |(before, _)| before).to_owned();
        let spool = |line: String| match line.split_once("fleet-health/") {
            Some((before, _)) => before.to_owned(),
            None => line,
        };
        blurred(&text.lines().map(machine).map(spool).collect::<Vec<_>>().join("\n"))
    };
    let readme = transcript_of_readme("$ fleet-collector check-host");
    assert_eq!(stable(&seen), stable(&readme), "what was seen:\n{seen}");
}
