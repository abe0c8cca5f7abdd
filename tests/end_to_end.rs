//! The whole story: an old config.xml of the first form, three machines, real load, and exactly the mails that it
//! should give.
//!
//! As root the machines are three sshd with a throwaway user each, who logs in with a password, as the first form has
//! it. An ordinary user cannot make users: then all three are that user's own, with a key and a directory each.

use std::cell::Cell;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;
use storage::{AlertStore as _, Backoff, SqliteStore};
use tests::account::Account;
use tests::load::{Cpu, Memory};
use tests::silent::refused_port;
use tests::site::Site;
use tests::smtp::{Mail, Smtp, Tls};
use tests::sshd::Sshd;

/// Where the alerter would find a way out by itself.
const SENDMAIL: &str = "/usr/sbin/sendmail";

/// The cpu limit of the story, in per cent.
const CPU_LIMIT: f64 = 90.0;

/// The machines, and how config.xml says to log in to each.
struct Machines {
    servers: Vec<Sshd>,
    logins: Vec<String>,
    _accounts: Vec<Account>,
}

impl Machines {
    fn start(site: &Site) -> Self {
        if !tests::is_root() {
            let servers: Vec<Sshd> = (0..3).map(|_| Sshd::start()).collect();
            let login = |(number, sshd): (usize, &Sshd)| {
                let (user, key) = (tests::user(), sshd.login_key());
                let directory = site.remote_dir(&number.to_string());
                let (key, directory) = (key.display(), directory.display());
                format!("username=\"{user}\" identity-file=\"{key}\" remote-dir=\"{directory}\"")
            };
            let logins = servers.iter().enumerate().map(login).collect();
            return Self { servers, logins, _accounts: Vec::new() };
        }
        let servers: Vec<Sshd> = (0..3).map(|_| Sshd::for_accounts("")).collect();
        let accounts: Vec<Account> = (0..3).map(|_| Account::create()).collect();
        let login = |account: &Account| {
            let password = account.password.replace('&', "&amp;").replace('"', "&quot;");
            format!("username=\"{}\" password=\"{password}\"", account.name)
        };
        let logins = accounts.iter().map(login).collect();
        Self { servers, logins, _accounts: accounts }
    }

    /// `<client>` of the first form.
    fn client(&self, index: usize, mail: &str, alerts: &str) -> String {
        let (ip, port, login) =
            (self.servers[index].address(), self.servers[index].port(), &self.logins[index]);
        format!("<client ip=\"{ip}\" port=\"{port}\" {login} mail=\"{mail}\">{alerts}</client>\n")
    }

    /// What a client without a name is called.
    fn name(&self, index: usize) -> String {
        format!("{}:{}", self.servers[index].address(), self.servers[index].port())
    }
}

/// The old file: two machines of a@, one of b@.
struct Story {
    site: Site,
    machines: Machines,
    memory_limit: f64,
    /// [`jiffies`] before the last collection: the next report covers what came after.
    last: Cell<(u64, u64)>,
    /// Collections of all three so far.
    collections: Cell<u64>,
}

impl Story {
    fn begin() -> Self {
        let site = Site::new();
        let machines = Machines::start(&site);
        let memory_limit = (Memory::used_percent() + 5.0).ceil();
        Self { site, machines, memory_limit, last: Cell::new(jiffies()), collections: Cell::new(0) }
    }

    /// Writes config.xml; `extra` is what a later step adds to it.
    fn write(&self, extra: &str, mode: u32) {
        let memory = format!("<alert type=\"memory\" limit=\"{}%\"/>", self.memory_limit);
        let cpu = format!("<alert type=\"cpu\" limit=\"{CPU_LIMIT}%\"/>");
        let clients = [
            self.machines.client(0, "a@example.org", &(memory.clone() + &cpu)),
            self.machines.client(1, "a@example.org", &memory),
            self.machines.client(2, "b@example.org", &cpu),
        ];
        // The one line that such a file does not have: a test may not write to /var/lib.
        let storage = format!("<storage url=\"sqlite://{}\"/>", self.site.text("state/fleet.db"));
        self.site
            .write_config(&format!("<config>\n{storage}\n{extra}\n{}</config>\n", clients.concat()), mode);
    }

    fn collect(&self) {
        self.collections.set(self.collections.get() + 1);
        self.last.set(jiffies());
        self.site.collect_with(&["--fresh"]).expect_all();
    }

    /// The first report of each machine. It has nothing to compare with and samples the processors for a moment: one
    /// machine after another, so that none of them measures the others' first contact.
    fn meet(&self) {
        for index in 0..3 {
            self.await_calm();
            self.site.collect_with(&["--only", &self.machines.name(index)]).expect_all();
        }
    }

    /// Two reports of which each covers calm alone.
    fn collect_calm(&self) {
        self.await_calm();
        self.collect();
        self.await_calm();
        self.collect();
    }

    /// Waits until the next report will say that all is well, which something else on this machine could prevent.
    fn await_calm(&self) {
        let calm = CPU_LIMIT - 15.0;
        let mut busy = (100.0, 100.0);
        for _ in 0..60 {
            let before = jiffies();
            sleep(Duration::from_secs(2));
            busy = (busy_percent(before), busy_percent(self.last.get()));
            if busy.0 < calm && busy.1 < calm && Memory::used_percent() < self.memory_limit {
                return;
            }
        }
        let (now, since) = busy;
        panic!("something else keeps this machine busy (cpu {now:.0} %, {since:.0} % since the last report)");
    }

    /// Memory and processors in use, seen by reports of which all but the first cover load alone. Where others give
    /// memory back while it is measured, more is taken and it is measured again.
    fn collect_loaded(&self) {
        let _cpu = Cpu::burn();
        let mut memory = vec![Memory::fill_to(self.memory_limit + 2.0)];
        self.collect();
        for _ in 0..5 {
            sleep(Duration::from_secs(3));
            memory.push(Memory::fill_to(self.memory_limit + 2.0));
            self.collect();
            if Memory::used_percent() > self.memory_limit {
                return;
            }
        }
        panic!("something else on this machine gives back memory as fast as it is taken here");
    }

    /// Reports stored so far.
    fn stored(&self) -> u64 {
        self.site.status()["counts"]["reports"].as_u64().expect("status counts reports")
    }
}

/// Jiffies that all processors were busy, and in all.
fn jiffies() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/stat").expect("/proc is mounted");
    let line = text.lines().next().expect("the first line is about all processors");
    let numbers: Vec<u64> =
        line.split_whitespace().skip(1).take(8).filter_map(|number| number.parse().ok()).collect();
    let all = numbers.iter().sum();
    (all - numbers[3] - numbers[4], all)
}

/// Per cent that all processors were busy since `before`.
fn busy_percent(before: (u64, u64)) -> f64 {
    let after = jiffies();
    100.0 * (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64
}

/// The mail for `receiver`, which has to be the only one.
#[track_caller]
fn only_for<'a>(mails: &'a [Mail], receiver: &str) -> &'a Mail {
    let mine: Vec<&Mail> = mails.iter().filter(|mail| mail.to == receiver).collect();
    assert_eq!(mine.len(), 1, "one mail per receiver and run: {mails:#?}");
    mine[0]
}

/// A header of a mail, unfolded.
fn header<'a>(mail: &'a Mail, name: &str) -> &'a str {
    let start = format!("{name}: ");
    mail.text
        .lines()
        .take_while(|line| !line.is_empty())
        .find_map(|line| line.strip_prefix(&start))
        .unwrap_or_default()
}

#[test]
fn an_old_configuration_walks_to_its_mails() {
    let story = Story::begin();
    let (site, machines) = (&story.site, &story.machines);
    let (web, db, mail) = (machines.name(0), machines.name(1), machines.name(2));

    // The file holds passwords, and others may read it.
    if tests::is_root() {
        story.write("", 0o644);
        for run in [site.collector(&[]), site.alerter(&[])] {
            let run = run.expect(78);
            assert!(run.stderr.contains("chmod 600"), "{}", run.stderr);
        }
    }

    // The host keys are not known, and nothing is guessed.
    story.write("", 0o600);
    let collection = site.collect();
    assert_eq!((collection.run.code, collection.failed), (Some(1), 3), "{collection:#?}");
    for client in collection.clients.values() {
        assert_eq!(client.outcome, "host-key-unknown");
        assert!(client.message.contains("fleet-collector trust"), "{}", client.message);
    }
    let trust = site.collector(&["trust", "--all", "--yes"]).expect(0);
    for sshd in &machines.servers {
        assert!(trust.stdout.contains(&sshd.fingerprint("ed25519")), "{}", trust.stdout);
    }

    // Collected; all is well, nobody is told anything.
    story.meet();
    story.collect_calm();
    site.alerter(&[]).expect(0);

    // Load. There is something to tell, and no way to tell it.
    story.collect_loaded();
    if std::path::Path::new(SENDMAIL).exists() {
        tests::tell(&format!("not tried: no way to send mail ({SENDMAIL} is here, and would really send)"));
    } else {
        let run = site.alerter(&[]).expect(1);
        assert!(run.stderr.contains("<mail"), "the line to add is missing: {}", run.stderr);
    }

    // The line is added.
    let smtp = Smtp::with(Tls::StartTls, Some(("fleet", "secret")), &json!({}));
    let (port, authority) = (smtp.port(), smtp.certificate());
    let way_out = format!(
        "<mail host=\"localhost\" port=\"{port}\" tls=\"starttls\" ca-file=\"{}\" username=\"fleet\" \
         password=\"secret\" from=\"fleet@example.org\"/>",
        authority.display()
    );
    story.write(&way_out, 0o600);
    site.alerter(&[]).expect(0);
    let mails = smtp.mails();
    assert_eq!(mails.len(), 2, "{mails:#?}");
    let (to_a, to_b) = (only_for(&mails, "a@example.org"), only_for(&mails, "b@example.org"));
    let protected = smtp.log().lines().filter(|line| line.contains("tls=True login=True")).count();
    assert_eq!(protected, 2, "each mail goes through TLS and after the login: {}", smtp.log());
    assert!(header(to_a, "Subject").contains("3 CRITICAL"), "{}", to_a.text);
    assert!(
        to_a.body().contains(&web) && to_a.body().contains(&db) && !to_a.body().contains(&mail),
        "{}",
        to_a.text
    );
    assert!(to_a.body().contains("memory") && to_a.body().contains("cpu"), "{}", to_a.text);
    assert!(to_a.body().contains(&format!("{}", story.memory_limit)), "the limit is missing: {}", to_a.text);
    assert!(header(to_b, "Subject").contains("[CRITICAL]"), "{}", to_b.text);
    assert!(
        to_b.body().contains(&mail) && to_b.body().contains("cpu") && !to_b.body().contains(&web),
        "{}",
        to_b.text
    );
    assert!(header(to_b, "From").contains("<fleet@example.org>"), "{}", to_b.text);
    assert_eq!(header(to_b, "Auto-Submitted"), "auto-generated");

    // Told is told: once more without news, and none.
    site.alerter(&[]).expect(0);
    assert_eq!(smtp.mails().len(), 2);
    assert_eq!(site.status()["alerts"].as_array().map(Vec::len), Some(4), "{}", site.status());

    // The load is over: who was told of the problem is told of its end.
    story.collect_calm();
    site.alerter(&[]).expect(0);
    let mails = smtp.mails().split_off(2);
    assert_eq!(mails.len(), 2, "{mails:#?}");
    for receiver in ["a@example.org", "b@example.org"] {
        let mail = only_for(&mails, receiver);
        assert!(mail.body().to_lowercase().contains("recovered"), "{}", mail.text);
    }
    assert_eq!(site.status()["alerts"].as_array().map(Vec::len), Some(0), "{}", site.status());
    site.alerter(&[]).expect(0);
    assert_eq!(smtp.mails().len(), 4);

    // The alerter is away for ten collections, in which load comes and goes.
    let (stored, collections) = (story.stored(), story.collections.get());
    story.collect_calm();
    story.collect_loaded();
    for _ in 0..3 {
        story.collect_calm();
    }
    let collections = story.collections.get() - collections;
    assert_eq!(story.stored() - stored, 3 * collections, "each report is stored once");
    site.alerter(&[]).expect(0);
    let late = smtp.mails().split_off(4);
    assert_eq!(late.len(), 2, "{late:#?}");
    for receiver in ["a@example.org", "b@example.org"] {
        let mail = only_for(&late, receiver);
        assert!(
            mail.body().to_lowercase().contains("while alerts were not processed"),
            "it is told as late: {}",
            mail.text
        );
    }
    let late_to_a = only_for(&late, "a@example.org").body();
    assert!(late_to_a.contains(&web) && late_to_a.contains(&db), "{late_to_a}");
    let counts = site.status()["counts"].clone();
    assert_eq!((counts["unevaluated"].as_u64(), counts["untold"].as_u64()), (Some(0), Some(0)), "{counts}");
    site.alerter(&[]).expect(0);
    assert_eq!(smtp.mails().len(), 6, "nothing twice");
}

/// A site that watches this machine with a limit that is always crossed, and mails to `port`.
fn always_firing(site: &Site, port: u16) {
    site.configure(&format!(
        "<mail host=\"127.0.0.1\" port=\"{port}\" tls=\"none\" from=\"fleet@example.org\"/>\n\
         <client name=\"here\" connection=\"local\" remote-dir=\"{}\" mail=\"a@example.org\">\
         <alert type=\"memory\" limit=\"1%\"/></client>",
        site.text("local")
    ));
}

/// As if the back-off after failed deliveries were over: it goes by the clock of the run.
fn back_off_is_over(site: &Site) {
    let mut store = SqliteStore::open(&site.path("state/fleet.db")).expect("the site's storage");
    for backoff in store.backoffs().expect("it can be read") {
        store.set_backoff(&Backoff { failures: 0, ..backoff }).expect("it can be written");
    }
}

#[test]
fn a_mail_server_that_is_away_delays_the_news_and_loses_none() {
    let (site, smtp) = (Site::new(), Smtp::start());
    always_firing(&site, refused_port());
    site.collect().expect_all();
    for _ in 0..3 {
        site.alerter(&[]).expect(1);
        back_off_is_over(&site);
        site.collect_with(&["--fresh"]).expect_all();
    }
    let status = site.status();
    assert_eq!(status["counts"]["untold"], 1, "the news waits: {status}");
    always_firing(&site, smtp.port());
    let dry = site.alerter(&["--dry-run"]).expect(0);
    assert!(dry.stdout.contains("a@example.org") && dry.stdout.contains("memory"), "{dry:?}");
    assert_eq!(smtp.mails().len(), 0, "a dry run sends nothing");
    site.alerter(&[]).expect(0);
    site.alerter(&[]).expect(0);
    assert_eq!(smtp.mails().len(), 1, "four reports and three failures end in one mail");
    assert_eq!(site.status()["counts"]["untold"], 0, "{}", site.status());
}

#[test]
fn a_server_that_takes_the_mail_and_dies_gets_the_same_bytes_again() {
    let site = Site::new();
    let smtp = Smtp::with(Tls::None, None, &json!({"content": ["drop", ""]}));
    always_firing(&site, smtp.port());
    site.collect().expect_all();
    site.alerter(&[]).expect(1);
    let status = site.status();
    assert_eq!(status["outbox"].as_array().map(Vec::len), Some(1), "it is in doubt: {status}");
    back_off_is_over(&site);
    // What is true by now changes nothing of a message that may have arrived.
    site.collect_with(&["--fresh"]).expect_all();
    site.alerter(&[]).expect(0);
    let mails = smtp.mails();
    assert_eq!(mails.len(), 2, "{mails:#?}");
    assert_eq!(mails[0].text, mails[1].text);
    assert!(header(&mails[0], "Message-ID").starts_with('<'), "{}", mails[0].text);
    assert_eq!(site.status()["outbox"].as_array().map(Vec::len), Some(0), "{}", site.status());
}
