//! The file of passwords that all of PostgreSQL's programs know:
//! <https://www.postgresql.org/docs/15/libpq-pgpass.html>.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use model::storage_url::{PgHost, PgServer};

use super::access::Login;

/// Where servers put their socket if nobody says otherwise: PostgreSQL's own place, and Debian's.
const USUAL_SOCKETS: [&str; 3] = ["/tmp", "/var/run/postgresql", "/run/postgresql"];

/// The most that is read of it.
const MAX_BYTES: u64 = 1 << 20;

/// What it holds. As libpq does, one that others may read is passed over with a warning, and so is what is no file.
pub(super) fn read(path: &Path) -> String {
    let Ok(about) = fs::metadata(path) else { return String::new() };
    let place = path.display();
    if !about.is_file() || about.len() > MAX_BYTES {
        log::warn!("storage: the password file {place} is no plain file; it is passed over");
        return String::new();
    }
    if about.permissions().mode() & 0o077 != 0 {
        log::warn!(
            "storage: others may read the password file {place}; it is passed over until: chmod 0600 {place}"
        );
        return String::new();
    }
    fs::read_to_string(path).unwrap_or_else(|error| {
        log::warn!("storage: the password file {place} cannot be read: {error}");
        String::new()
    })
}

/// The password of the first line that is about that server, database and user.
pub(super) fn find(file: &str, server: &PgServer, login: &Login) -> Option<String> {
    let host = match &server.host {
        PgHost::Name(name) => name.clone(),
        PgHost::Socket(directory) if USUAL_SOCKETS.iter().any(|usual| Path::new(usual) == directory) => {
            "localhost".to_owned()
        }
        PgHost::Socket(directory) => directory.display().to_string(),
    };
    let port = server.port.to_string();
    let wanted = [host.as_str(), &port, &login.database, &login.user];
    file.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line;
        for wanted in wanted {
            let field = field(&mut rest)?;
            if field.raw != "*" && field.value != wanted {
                return None;
            }
        }
        let password = unescaped(rest);
        (!password.is_empty()).then_some(password)
    })
}

struct Field<'a> {
    /// As it stands there: `*` alone stands for anything, `\*` for itself.
    raw: &'a str,
    value: String,
}

/// Takes the field before the next colon that has no backslash before it.
fn field<'a>(rest: &mut &'a str) -> Option<Field<'a>> {
    let mut escaped = false;
    for (at, character) in rest.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => {
                let raw = &rest[..at];
                *rest = &rest[at + 1..];
                return Some(Field { raw, value: unescaped(raw) });
            }
            _ => {}
        }
    }
    None
}

/// Without the backslashes that stand before what is meant.
fn unescaped(text: &str) -> String {
    let mut characters = text.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(character) = characters.next() {
        match character {
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_up(file: &str, host: PgHost, user: &str) -> Option<String> {
        let login = Login { user: user.to_owned(), database: "fleet".to_owned() };
        find(file, &PgServer { host, port: 5432 }, &login)
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let file = "# db:5432:fleet:web:no\ndb:5433:fleet:web:port\ndb:5432:other:web:base\ndb:5432:*:web:one\n*:*:*:*:two";
        let named = |user| looked_up(file, PgHost::Name("db".to_owned()), user);
        assert_eq!(named("web").as_deref(), Some("one"));
        assert_eq!(named("other").as_deref(), Some("two"));
        assert_eq!(looked_up("db:5432:fleet", PgHost::Name("db".to_owned()), "web"), None);
        assert_eq!(looked_up("*:*:*:*:", PgHost::Name("db".to_owned()), "web"), None);
    }

    #[test]
    fn a_backslash_stands_before_what_is_meant() {
        let file = r"\:\:1:5432:fleet:a\\b:p\:w\\d";
        assert_eq!(looked_up(file, PgHost::Name("::1".to_owned()), r"a\b").as_deref(), Some(r"p:w\d"));
        assert_eq!(looked_up(r"*:*:*:\*:x", PgHost::Name("db".to_owned()), "web"), None);
        assert_eq!(looked_up(r"*:*:*:*:a:b", PgHost::Name("db".to_owned()), "web").as_deref(), Some("a:b"));
    }

    #[test]
    fn the_usual_socket_is_localhost() {
        let socket = |directory: &str| PgHost::Socket(directory.into());
        let file = "localhost:*:*:*:usual\n/srv/db:*:*:*:own";
        assert_eq!(looked_up(file, socket("/run/postgresql"), "web").as_deref(), Some("usual"));
        assert_eq!(looked_up(file, socket("/srv/db"), "web").as_deref(), Some("own"));
    }

    #[test]
    fn a_file_that_others_may_read_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pass");
        assert_eq!(read(&path), "");
        fs::write(&path, "*:*:*:*:x").unwrap();
        for (mode, said) in [(0o600, "*:*:*:*:x"), (0o640, ""), (0o604, "")] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path), said, "{mode:o}");
        }
        assert_eq!(read(directory.path()), "");
    }
}
