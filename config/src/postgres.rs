//! The URL of a PostgreSQL database, in the forms that libpq reads
//! (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>).
//!
//! No fault repeats a part of the URL: where a password holds a character that ought to be written with %, a piece of it
//! stands where a host, a port or a parameter is looked for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{PgHost, PgServer, PgTls, PostgresUrl};

use crate::environment::Environment;
use crate::fault::Wrong;
use crate::nearest::nearest;
use crate::settings::Secret;
use crate::value::{self, Value};

/// The port of PostgreSQL.
const PORT: u16 = 5432;
/// Where the server's socket is where no host is named: Debian's and Red Hat's place.
const SOCKETS: &str = "/var/run/postgresql";
/// How long a server is tried where nobody says it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// There are at most so many servers.
const SERVERS: usize = 16;

const FORM: &str = "postgres://user@host:port/database, or postgres:///database?host=/run/postgresql";
const ESCAPES: &str =
    "in a user's name or a password write % as %25, / as %2F, : as %3A, ? as %3F, @ as %40, & as %26";

/// The parameters that are known, those of libpq that mean something here.
const PARAMETERS: [&str; 11] = [
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "connect_timeout",
    "target_session_attrs",
];

/// What a URL says.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) url: PostgresUrl,
    pub(crate) password: Option<Secret>,
}

/// The parts of a URL that may stand in one of two places, decoded.
#[derive(Default)]
struct Parts {
    hosts: Option<Vec<String>>,
    ports: Option<Vec<String>>,
    database: Option<String>,
    user: Option<String>,
    password: Option<Secret>,
}

/// Reads `text`, which begins with `postgres://` or `postgresql://`; `base` is what paths in it are relative to.
pub(crate) fn url(text: &str, environment: &Environment, base: &Path) -> Value<Said> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (login, rest) = match rest.find(['@', '/']) {
        Some(at) if rest.as_bytes()[at] == b'@' => (Some(&rest[..at]), &rest[at + 1..]),
        _ => (None, rest),
    };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let (hosts, database) = place.split_once('/').unwrap_or((place, ""));
    let mut parts = Parts::default();
    if let Some(login) = login {
        let (user, password) = login.split_once(':').map_or((login, None), |(user, word)| (user, Some(word)));
        parts.user = said(decoded(user)?);
        parts.password = password.map(decoded).transpose()?.and_then(said).map(Secret::new);
    }
    parts.database = said(decoded(database)?);
    if !hosts.is_empty() {
        servers_of(hosts, &mut parts)?;
    }
    let mut url = PostgresUrl {
        servers: Vec::new(),
        database: None,
        user: None,
        tls: PgTls::default(),
        ca_file: None,
        client_certificate: None,
        client_key: None,
        connect_timeout: CONNECT_TIMEOUT,
    };
    parameters(query, &mut url, &mut parts, &|path| environment.path(base, path))?;
    url.servers = servers(parts.hosts, parts.ports)?;
    (url.database, url.user) = (parts.database, parts.user);
    Ok(Said { url, password: parts.password })
}

fn wrong(cause: &str) -> Wrong {
    Wrong::new(cause).expected(FORM)
}

/// What is not empty.
fn said(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// `text` without the escapes of RFC 3986, 2.1.
fn decoded(text: &str) -> Value<String> {
    let bad = || wrong("the URL has a % without two hexadecimal digits behind it").help(ESCAPES);
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        bytes.push(digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).ok_or_else(bad)?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("a part of the URL is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(wrong("the URL holds a control character").help("remove it"));
    }
    Ok(text)
}

/// The hosts between `//` and `/`, each with its port if it has one.
fn servers_of(text: &str, said: &mut Parts) -> Value<()> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for server in text.split(',') {
        let bad = || wrong("the URL has an address in brackets that does not end").help(ESCAPES);
        let (host, port) = match server.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']').ok_or_else(bad)?;
                let port = rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""));
                (address, port.ok_or_else(bad)?)
            }
            None => server.split_once(':').unwrap_or((server, "")),
        };
        hosts.push(decoded(host)?);
        ports.push(decoded(port)?);
    }
    let has_ports = ports.iter().any(|port| !port.is_empty());
    said.hosts = hosts.iter().any(|host| !host.is_empty()).then_some(hosts);
    said.ports = has_ports.then_some(ports);
    Ok(())
}

/// Reads what stands behind `?`.
fn parameters(
    query: Option<&str>,
    url: &mut PostgresUrl,
    parts: &mut Parts,
    path: &dyn Fn(&str) -> Value<PathBuf>,
) -> Value<()> {
    let (mut seen, mut system_roots) = (Vec::new(), false);
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let form = || wrong("the URL has a parameter that is not NAME=VALUE").help(ESCAPES);
        let (name, text) = pair.split_once('=').ok_or_else(form)?;
        let (name, text) = (decoded(name)?, decoded(text)?);
        let Some(known) = PARAMETERS.into_iter().find(|known| *known == name) else {
            let near = nearest(&name, PARAMETERS).map(|near| format!("did you mean {near}?"));
            let unknown = Wrong::new("the URL has a parameter that is not known here");
            return Err(unknown.expected(PARAMETERS.join(", ")).maybe_help(near));
        };
        let twice = || Wrong::new(format!("the URL says its {known} twice")).help("keep one of the two");
        let slot_is_taken = match known {
            "host" => parts.hosts.is_some(),
            "port" => parts.ports.is_some(),
            "dbname" => parts.database.is_some(),
            "user" => parts.user.is_some(),
            "password" => parts.password.is_some(),
            _ => seen.contains(&known),
        };
        if slot_is_taken {
            return Err(twice());
        }
        seen.push(known);
        let list = |text: &str| Some(text.split(',').map(str::to_owned).collect());
        match known {
            "host" => parts.hosts = list(&text),
            "port" => parts.ports = list(&text),
            "dbname" => parts.database = said(text),
            "user" => parts.user = said(text),
            "password" => parts.password = said(text).map(Secret::new),
            "sslmode" => url.tls = tls(&text)?,
            // libpq's word for the system's own.
            "sslrootcert" if text == "system" => system_roots = true,
            "sslrootcert" => url.ca_file = Some(path(&text)?),
            "sslcert" => url.client_certificate = Some(path(&text)?),
            "sslkey" => url.client_key = Some(path(&text)?),
            "connect_timeout" => url.connect_timeout = timeout(&text)?,
            _ => check_target(&text)?,
        }
    }
    // As libpq has it: they say who somebody is, not whether it is the server.
    if system_roots && url.tls != PgTls::VerifyFull {
        let weak = Wrong::new("sslrootcert=system serves nothing without the server's name");
        return Err(weak.expected("sslmode=verify-full with it"));
    }
    Ok(())
}

fn tls(text: &str) -> Value<PgTls> {
    let modes = [PgTls::Disable, PgTls::Require, PgTls::VerifyCa, PgTls::VerifyFull];
    modes.into_iter().find(|mode| mode.name() == text).ok_or_else(|| {
        let cause = if ["allow", "prefer"].contains(&text) {
            "with this sslmode whoever is between may have it all in the clear"
        } else {
            "the URL has an sslmode that is not known here"
        };
        Wrong::new(cause).expected(modes.map(PgTls::name).join(", "))
    })
}

fn timeout(text: &str) -> Value<Duration> {
    let seconds = value::count(text, 1, 300).map_err(|_| {
        Wrong::new("the URL's connect_timeout does not fit").expected("seconds, a number from 1 to 300")
    })?;
    Ok(Duration::from_secs(seconds as u64))
}

/// Both programs write: another server than one that takes writes serves nothing.
fn check_target(text: &str) -> Value<()> {
    if ["read-write", "primary"].contains(&text) {
        return Ok(());
    }
    Err(Wrong::new("the programs need a server that takes writes")
        .expected("target_session_attrs=read-write"))
}

/// Hosts with their ports: one for all, or one for each.
fn servers(hosts: Option<Vec<String>>, ports: Option<Vec<String>>) -> Value<Vec<PgServer>> {
    let hosts = hosts.unwrap_or_else(|| vec![String::new()]);
    let ports = ports.unwrap_or_default();
    if ports.len() > 1 && ports.len() != hosts.len() {
        return Err(
            wrong("the URL has not as many ports as hosts").expected("one port, or one for each host")
        );
    }
    if hosts.len() > SERVERS {
        return Err(wrong("the URL has too many hosts").expected(format!("at most {SERVERS}")));
    }
    let port_of = |index: usize| match ports.get(index).or(ports.first().filter(|_| ports.len() == 1)) {
        Some(port) if !port.is_empty() => value::port(port).map_err(|_| {
            wrong("the URL has a port that is none").expected("a number from 1 to 65535").help(ESCAPES)
        }),
        _ => Ok(PORT),
    };
    let server =
        |(index, host): (usize, String)| Ok(PgServer { host: self::host(&host)?, port: port_of(index)? });
    hosts.into_iter().enumerate().map(server).collect()
}

fn host(text: &str) -> Value<PgHost> {
    match text {
        "" => Ok(PgHost::Socket(SOCKETS.into())),
        path if path.starts_with('/') => Ok(PgHost::Socket(path.into())),
        name => value::host(name).map(PgHost::Name).map_err(|_| {
            wrong("the URL has a host that is neither a name nor an address nor a directory").help(ESCAPES)
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Value<Said> {
        let environment = Environment { home: Some("/home/ann".into()), ..Environment::default() };
        url(text, &environment, Path::new("/etc/fleet"))
    }

    /// Who, with what, where, how.
    fn shown(text: &str) -> String {
        let Said { url, password } = parsed(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
        let password = password.map_or_else(String::new, |word| format!(", password {}", word.reveal()));
        format!("{url}{password}, {}", url.tls.name())
    }

    #[test]
    fn every_form_of_libpq_is_read() {
        for (text, expected) in [
            ("postgres://db/fleet", "db:5432, database fleet, verify-full"),
            ("postgresql://me@db", "db:5432, user me, verify-full"),
            (
                "postgres://me:w%40rd%2f@db:5433/fl%20eet?sslmode=verify-ca",
                "db:5433, database fl eet, user me, password w@rd/, verify-ca",
            ),
            ("postgres://me:a?b@db/x", "db:5432, database x, user me, password a?b, verify-full"),
            (
                "postgres://[2001:db8::1]:5433,db2,10.0.0.1:1/x",
                "[2001:db8::1]:5433, db2:5432, 10.0.0.1:1, database x, verify-full",
            ),
            ("postgres:///fleet", "/var/run/postgresql:5432, database fleet, verify-full"),
            ("postgres://", "/var/run/postgresql:5432, verify-full"),
            ("postgres:///fleet?host=/run/pg&port=5433", "/run/pg:5433, database fleet, verify-full"),
            ("postgres://%2Frun%2Fpg/fleet", "/run/pg:5432, database fleet, verify-full"),
            (
                "postgres:///?host=a,b&port=1,2&user=me&password=w&dbname=x&sslmode=disable",
                "a:1, b:2, database x, user me, password w, disable",
            ),
            ("postgres://a,b/x?port=9", "a:9, b:9, database x, verify-full"),
            (
                "postgres://a,b/x?target_session_attrs=read-write&sslrootcert=system",
                "a:5432, b:5432, database x, verify-full",
            ),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        let files = "postgres://db/x?sslrootcert=ca.pem&sslcert=~/c.pem&sslkey=/k.pem&connect_timeout=3";
        let url = parsed(files).unwrap().url;
        assert_eq!(url.ca_file, Some("/etc/fleet/ca.pem".into()));
        assert_eq!(url.client_certificate, Some("/home/ann/c.pem".into()));
        assert_eq!(url.client_key, Some("/k.pem".into()));
        assert_eq!(url.connect_timeout, Duration::from_secs(3));
    }

    #[test]
    fn no_fault_shows_a_part_of_a_password() {
        for (text, cause) in [
            ("postgres://me:hun/ter@db/x", "a port that is none"),
            ("postgres://me:hunt@ter@db/x", "a host that is neither"),
            ("postgres://me:hun%ter@db/x", "a % without"),
            ("postgres://hun:ter/2@db/x", "a port that is none"),
            ("postgres://db/x?hunter", "not NAME=VALUE"),
            ("postgres://db/x?hunter=2", "a parameter that is not known"),
            ("postgres://me:w@db/x?password=hunter", "its password twice"),
            ("postgres://db/x?host=hunter", "its host twice"),
            ("postgres://db/x?sslmode=hunter", "an sslmode"),
            ("postgres://db/x?sslmode=prefer", "in the clear"),
            ("postgres://db/x?connect_timeout=0", "connect_timeout does not fit"),
            ("postgres://db/x?target_session_attrs=any", "takes writes"),
            ("postgres://[hunter/x", "in brackets"),
            ("postgres://a,b/x?port=1,2,3", "as many ports"),
            ("postgres://me:%00@db/x", "control character"),
            ("postgres://me:%ff@db/x", "not UTF-8"),
        ] {
            let told = format!("{:?}", parsed(text).map(|said| said.url).unwrap_err());
            assert!(
                told.contains(cause) && !told.contains("hun") && !told.contains("ter@"),
                "{text}: {told}"
            );
        }
        assert!(format!("{:?}", parsed("postgres://d/x?sslmodus=disable")).contains("did you mean sslmode?"));
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(user in "[^\\x00-\\x1f\\x7f-\\u{9f}]{1,20}", word in "[^\\x00-\\x1f\\x7f-\\u{9f}]{1,20}") {
            let escaped = |text: &str| text.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
            let said = parsed(&format!("postgres://{}:{}@db/x", escaped(&user), escaped(&word))).unwrap();
            prop_assert_eq!(said.url.user, Some(user));
            prop_assert_eq!(said.password.map(|word| word.reveal().to_owned()), Some(word));
        }

        #[test]
        fn whatever_stands_there_is_read_or_refused(text in ".{0,80}") {
            let _ = parsed(&format!("postgres://{text}"));
        }
    }
}
