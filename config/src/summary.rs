//! What `check-config` prints: everything that the file comes to, without a secret.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Operator, Pattern, PgHost, PgTls, PostgresUrl, Rule, StorageUrl, Unit, metric};

use crate::mail::SENDMAIL;
use crate::rule_text;
use crate::settings::{
    Client, Connection, HostKeyPolicy, Mode, Proxy, SecretSource, Settings, Smtp, Ssh, Storage, Tls,
    Transport,
};
use crate::value;

/// So many clients are named in a warning; of the rest only the number.
const NAMED: usize = 5;
/// Globs of more characters than that are counted.
const GLOBS: usize = 30;

/// What `check-config` prints: the file, the storage, how mail goes, a table of clients with address, login and the
/// number of their set of rules, the sets of rules, and warnings of what is allowed but hardly meant.
pub fn summary(settings: &Settings) -> String {
    let sets = rule_sets(&settings.clients);
    let mut text = head(settings);
    text.push('\n');
    text += &clients(&settings.clients, &sets);
    for (number, set) in sets.iter().enumerate() {
        let _ = write!(
            text,
            "\nrules {} ({})\n{}",
            number + 1,
            clients_count(set.clients.len()),
            rules(set.rules)
        );
    }
    let warnings = warnings(settings);
    if !warnings.is_empty() {
        text.push('\n');
    }
    for warning in warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

/// Clients that have the same rules.
struct RuleSet<'a> {
    rules: &'a [Rule],
    clients: Vec<usize>,
}

fn rule_sets(clients: &[Client]) -> Vec<RuleSet<'_>> {
    let mut sets: Vec<RuleSet<'_>> = Vec::new();
    let mut known = std::collections::HashMap::new();
    for (index, client) in clients.iter().enumerate() {
        // Names tell globs apart that are counted only.
        let names: Vec<_> = client.rules.iter().map(|rule| &rule.id).collect();
        let number = *known.entry((names, rules(&client.rules))).or_insert_with(|| {
            sets.push(RuleSet { rules: &client.rules, clients: Vec::new() });
            sets.len() - 1
        });
        sets[number].clients.push(index);
    }
    sets
}

fn clients_count(count: usize) -> String {
    if count == 1 { "1 client".to_owned() } else { format!("{count} clients") }
}

fn head(settings: &Settings) -> String {
    let every = |word: &str, every: Option<Duration>| match every {
        Some(every) => format!("{word} every {}", Unit::Seconds.show(every.as_secs_f64())),
        None => format!("{word} as often as it is run"),
    };
    let schedule = format!(
        "{}, {}",
        every("collector", settings.collector_every),
        every("alerter", settings.alerter_every)
    );
    let mut rows = vec![
        ("config", settings.file.display().to_string()),
        ("included", included(&settings.included)),
        ("storage", storage(&settings.storage)),
        ("state", state(&settings.storage)),
        ("mail", mail(settings)),
    ];
    if let Some(mail) = &settings.mail {
        rows.push(("from", mail.from.clone()));
        rows.push(("admin", if mail.admin.is_empty() { "nobody".to_owned() } else { mail.admin.join(", ") }));
    }
    rows.push(("schedule", schedule));
    rows.push(("clients", format!("{}, {} at once", settings.clients.len(), settings.concurrency)));
    rows.retain(|(_, value)| !value.is_empty());
    let mut text =
        rows.iter().fold(String::new(), |text, (name, value)| format!("{text}{name:<9} {value}\n"));
    let idle = without_effect(settings);
    if !idle.is_empty() {
        let _ = writeln!(text, "read, and without effect in this version: {}", idle.join(", "));
    }
    text
}

/// The files beside the first one; empty where there are none.
fn included(files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!("{}: {}", names.len(), named(&names)) }
}

/// Where things are stored, never with what one logs in there.
fn storage(storage: &Storage) -> String {
    match &storage.url {
        StorageUrl::Sqlite(path) => format!("SQLite, {}", path.display()),
        StorageUrl::Postgres(url) => {
            let by_tcp = url.servers.iter().any(|server| matches!(server.host, PgHost::Name(_)));
            let tls = match url.tls {
                _ if !by_tcp => "",
                PgTls::Disable => ", in the clear",
                PgTls::Require => ", TLS with whoever answers",
                PgTls::VerifyCa => ", TLS whatever the name",
                PgTls::VerifyFull => ", TLS",
            };
            let shown = url.client_certificate.iter().map(|path| format!(", certificate {}", path.display()));
            let password =
                storage.password.iter().map(|source| format!(", {}", way_of_secret(source, "password")));
            format!("PostgreSQL, {url}{tls}{}", shown.chain(password).collect::<String>())
        }
    }
}

/// Where this host keeps what is its own; empty where that is beside the storage.
fn state(storage: &Storage) -> String {
    match storage.url {
        StorageUrl::Sqlite(_) => String::new(),
        StorageUrl::Postgres(_) => {
            let lease = Unit::Seconds.show(storage.lease.as_secs_f64());
            format!("in {}, runs have a lease of {lease}", storage.state_dir.display())
        }
    }
}

/// What the file says and nothing obeys yet.
fn without_effect(settings: &Settings) -> Vec<String> {
    // What a file holds is not pruned.
    let keeps_all = matches!(settings.storage.url, StorageUrl::Sqlite(_));
    let said = |name: &str, is_said: bool| is_said.then(|| name.to_owned());
    let all = [
        said("keep-raw", keeps_all && settings.storage.keep_raw.is_some()),
        said("keep-history", settings.storage.keep_history.is_some()),
    ];
    all.into_iter().flatten().collect()
}

fn mail(settings: &Settings) -> String {
    match settings.mail.as_ref().map(|mail| &mail.transport) {
        None => format!("no <mail>: the local {SENDMAIL}, if there is one"),
        Some(Transport::Sendmail(path)) => format!("the program {}", path.display()),
        Some(Transport::Directory(path)) => format!("files in {}", path.display()),
        Some(Transport::Smtp(smtp)) => server(smtp),
    }
}

fn server(smtp: &Smtp) -> String {
    let tls = match smtp.tls {
        Tls::StartTls => "STARTTLS",
        Tls::Tls => "TLS",
        Tls::None => "in the clear",
    };
    let login = match &smtp.login {
        Some((username, source)) => format!(", login {username} with {}", way_of_secret(source, "password")),
        None => String::new(),
    };
    format!("{}:{}, {tls}{login}", smtp.host, smtp.port)
}

/// Where a secret comes from, never what it is.
fn way_of_secret(source: &SecretSource, what: &str) -> String {
    match source {
        SecretSource::Inline(_) => format!("{what} in this file"),
        SecretSource::File(path) => format!("{what} in {}", path.display()),
        SecretSource::Command(_) => format!("{what} by a command"),
    }
}

fn clients(clients: &[Client], sets: &[RuleSet<'_>]) -> String {
    let mut numbers = vec![0; clients.len()];
    for (number, set) in sets.iter().enumerate() {
        for &client in &set.clients {
            numbers[client] = number + 1;
        }
    }
    let mut rows =
        vec![["CLIENT", "ADDRESS", "WAY", "LOGIN", "PARENT", "GROUPS", "RULES"].map(str::to_owned)];
    for (client, number) in clients.iter().zip(numbers) {
        let (address, way, login) = match &client.connection {
            Connection::Unsaid => ("not said".to_owned(), "-".to_owned(), "-".to_owned()),
            Connection::Local => ("this host".to_owned(), "-".to_owned(), "none needed".to_owned()),
            Connection::Ssh(ssh) => (ssh.place(), way(ssh), login(ssh, client.mode)),
        };
        let parent = client.parent.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let groups: Vec<_> = client.groups.iter().map(String::as_str).collect();
        let groups = if groups.is_empty() { "-".to_owned() } else { groups.join(",") };
        rows.push([client.name.to_string(), address, way, login, parent, groups, number.to_string()]);
    }
    table(&rows, "")
}

/// Through what a server is reached, the one that is dialled first.
fn way(ssh: &Ssh) -> String {
    match &ssh.proxy {
        None => "-".to_owned(),
        Some(Proxy::Command(_)) => "a command".to_owned(),
        Some(Proxy::Jump(hops)) => {
            let command = hops.iter().filter_map(|hop| hop.ssh.proxy.as_ref()).map(|_| "a command");
            let names: Vec<_> = command.chain(hops.iter().map(|hop| hop.name.as_str())).collect();
            names.join(" > ")
        }
    }
}

fn login(ssh: &Ssh, mode: Mode) -> String {
    let file_name =
        |path: &Path| path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut ways: Vec<String> =
        ssh.identity_files.iter().map(|path| format!("key {}", file_name(path))).collect();
    if ssh.identity_agent.is_some() {
        ways.push("agent".to_owned());
    }
    if let Some(password) = &ssh.password {
        ways.push(way_of_secret(password, "password"));
    }
    if ways.is_empty() {
        ways.push("agent, default keys".to_owned());
    }
    if !ssh.host_keys.is_empty() {
        ways.push("pinned host key".to_owned());
    }
    if ssh.host_key_policy == HostKeyPolicy::AcceptNew {
        ways.push("accepts new host keys".to_owned());
    }
    if mode == Mode::Installed {
        ways.push("installed probe".to_owned());
    }
    ways.join(", ")
}

/// A line for each rule; whom all of them tell is told once.
fn rules(rules: &[Rule]) -> String {
    let all = rules.first().map(told).filter(|first| rules.iter().all(|rule| told(rule) == *first));
    let row = |rule: &Rule| {
        let objects = list("on", &rule.matches) + &list("but", &rule.excludes);
        let told = if all.is_none() { format!("-> {}", told(rule)) } else { "-".to_owned() };
        [format!("{}{objects}", rule.metric), rule_text(rule), told]
    };
    let title = [["RULE", "WHEN", "TELLS"].map(str::to_owned)];
    let rows: Vec<_> = title.into_iter().chain(rules.iter().map(row)).collect();
    let all = all.map_or_else(String::new, |all| format!("  all tell {all}\n"));
    table(&rows, "  ") + &all
}

/// Globs, or how many they are.
fn list(word: &str, patterns: &[Pattern]) -> String {
    let shown = patterns.iter().map(|pattern| pattern.0.as_str()).collect::<Vec<_>>().join(",");
    match shown.chars().count() {
        0 => String::new(),
        1..=GLOBS => format!(" {word} {shown}"),
        _ => format!(" {word} {} globs", patterns.len()),
    }
}

/// Who is told, and when not.
fn told(rule: &Rule) -> String {
    let mut told = if rule.receivers.is_empty() { "nobody".to_owned() } else { rule.receivers.join(", ") };
    if let Some(escalation) = &rule.escalation {
        let after = Unit::Seconds.show(escalation.after_ms as f64 / 1000.0);
        let _ = write!(told, "; after {after} {} too", escalation.to.join(", "));
    }
    if let Some(window) = &rule.mute {
        let _ = write!(told, "; not in {window}");
    }
    told
}

/// `rows` with columns as wide as their widest cell; a column that says nothing (`-`) below its title is left out.
fn table<const N: usize>(rows: &[[String; N]], indent: &str) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let is_empty = |column: usize| rows.len() > 1 && rows[1..].iter().all(|row| row[column] == "-");
    let empty: [bool; N] = std::array::from_fn(is_empty);
    let mut text = String::new();
    for row in rows {
        let shown = row.iter().zip(widths).zip(empty).filter(|(_, empty)| !empty);
        let cells: Vec<_> = shown.map(|((cell, width), _)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "{indent}{}", cells.join("  ").trim_end());
    }
    text
}

fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.clients.is_empty() {
        warnings.push("there is no client: nothing is collected".to_owned());
    }
    let with = |is_meant: &dyn Fn(&Rule) -> bool| -> Vec<&str> {
        let has = |client: &&Client| client.rules.iter().any(is_meant);
        settings.clients.iter().filter(has).map(|client| client.name.as_str()).collect()
    };
    if let StorageUrl::Postgres(url) = &settings.storage.url {
        warnings.extend(exposed(url));
    }
    let untold = with(&|rule| rule.receivers.is_empty());
    if !untold.is_empty() {
        let remedy = "add mail=\"...\" to the clients, or admin=\"...\" to <mail>";
        warnings.push(format!("alerts of {} tell nobody: {remedy}", named(&untold)));
    }
    let idle = with(&never_fires);
    if !idle.is_empty() {
        warnings.push(format!("{}: a limit above 100 % never fires", named(&idle)));
    }
    let counts_nothing = |client: &&Client| {
        let counts = |rule: &Rule| client.processes.iter().any(|name| rule.is_about(name));
        client.rules.iter().any(|rule| rule.metric == "process" && !counts(rule))
    };
    let counting: Vec<_> =
        settings.clients.iter().filter(counts_nothing).map(|client| client.name.as_str()).collect();
    if !counting.is_empty() {
        let remedy = "name them in `match` without * and ?, or in `processes` of the client";
        warnings.push(format!("{}: an alert on `process` counts nothing: {remedy}", named(&counting)));
    }
    warnings
}

/// What to say of a database that others on the way may read, or pretend to be.
fn exposed(url: &PostgresUrl) -> Option<String> {
    let cause = match url.tls {
        PgTls::Disable => "what goes to it goes in the clear",
        PgTls::Require => "whoever answers there is taken for it",
        PgTls::VerifyCa | PgTls::VerifyFull => return None,
    };
    let far = url.servers.iter().find(|server| match &server.host {
        PgHost::Name(name) => !value::is_loopback(name),
        PgHost::Socket(_) => false,
    })?;
    Some(format!(
        "the storage at {far}: {cause}; say sslmode=verify-full, and ca-file for a root of your own"
    ))
}

/// Whether a limit lies beyond what a percentage can be.
fn never_fires(rule: &Rule) -> bool {
    let rises = matches!(rule.threshold.operator, Operator::AtLeast | Operator::Above);
    let beyond = |limit: &f64| !rule.threshold.operator.breaches(100.0, *limit);
    let limits = [rule.threshold.warning, rule.threshold.critical];
    rises && metric::unit(&rule.metric) == Unit::Percent && limits.iter().flatten().any(beyond)
}

fn named(names: &[&str]) -> String {
    let shown = names[..names.len().min(NAMED)].join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
