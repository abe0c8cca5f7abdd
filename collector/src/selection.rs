//! Which clients a command is about. Pure.

use config::{Client, nearest};

/// The clients that `only` names, in the order of the file; all where it is empty. A word is a client's name or
/// `@group`; one that names nothing is a fault of the command line.
pub(crate) fn select<'a>(clients: &'a [Client], only: &[String]) -> Result<Vec<&'a Client>, String> {
    for word in only {
        if !clients.iter().any(|client| is_named(client, word)) {
            return Err(unknown(clients, word));
        }
    }
    let named = |client: &&Client| only.is_empty() || only.iter().any(|word| is_named(client, word));
    Ok(clients.iter().filter(named).collect())
}

fn is_named(client: &Client, word: &str) -> bool {
    match word.strip_prefix('@') {
        Some(group) => client.groups.contains(group),
        None => client.name.as_str() == word,
    }
}

fn unknown(clients: &[Client], word: &str) -> String {
    let (kind, shown) = if word.starts_with('@') { ("group", word) } else { ("client", word) };
    let names = clients.iter().map(|client| client.name.to_string());
    let groups = clients.iter().flat_map(|client| client.groups.iter().map(|group| format!("@{group}")));
    let known: Vec<_> = names.chain(groups).collect();
    let near = nearest(word, known.iter().map(String::as_str));
    let hint = near.map_or_else(
        || "; fleet-collector check-config lists them".to_owned(),
        |near| format!("; did you mean {near}?"),
    );
    format!("no enabled {kind} is called {}{hint}", model::text::escape(shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Connection;
    use std::time::Duration;

    fn client(name: &str, groups: &[&str]) -> Client {
        Client {
            name: name.parse().unwrap(),
            source: "config.xml:1".to_owned(),
            connection: Connection::Local,
            remote_dirs: vec![],
            timeout: Duration::from_secs(1),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            mode: config::Mode::Ship,
            parent: None,
            processes: vec![],
            rules: vec![],
        }
    }

    #[test]
    fn names_and_groups_select_and_slips_are_told() {
        let clients = [client("web1", &["web"]), client("db1", &["db", "web"]), client("mx", &[])];
        let selected = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|word| (*word).to_owned()).collect();
            select(&clients, &only)
                .map(|found| found.iter().map(|client| client.name.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(selected(&[]), Ok(vec!["web1".into(), "db1".into(), "mx".into()]));
        assert_eq!(selected(&["mx", "web1"]), Ok(vec!["web1".into(), "mx".into()]));
        assert_eq!(selected(&["@web", "db1"]), Ok(vec!["web1".into(), "db1".into()]));
        assert_eq!(selected(&["web2"]), Err("no enabled client is called web2; did you mean web1?".into()));
        assert_eq!(selected(&["@wep"]), Err("no enabled group is called @wep; did you mean @web?".into()));
        let listed = "no enabled client is called \\u{1b}zzzzzzzz; fleet-collector check-config lists them";
        assert_eq!(selected(&["\x1bzzzzzzzz"]), Err(listed.into()));
    }
}
