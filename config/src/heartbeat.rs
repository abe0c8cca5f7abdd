//! `<heartbeat>`: what to ask for after a good run.

use crate::fault::Wrong;
use crate::grammar;
use crate::reading::Reading;
use crate::settings::{Heartbeat, Secret};
use crate::tree::Element;
use crate::value::{self, Value};

/// A URL has at most so many bytes.
const URL: usize = 2000;

/// Reads `<heartbeat>`.
pub(crate) fn read(reading: &mut Reading<'_>, element: &Element<'_>) -> Heartbeat {
    reading.holds_nothing(element);
    let mut heartbeat = Heartbeat::default();
    for attribute in grammar::known(&mut reading.sink, element) {
        let url = reading.take(attribute, url).map(|url| url.value);
        match attribute.name {
            "collector-url" => heartbeat.collector_url = url,
            _ => heartbeat.alerter_url = url,
        }
    }
    heartbeat
}

/// The URL of a web server (RFC 3986, 3). It is never repeated: its path is often a password of sorts.
fn url(text: &str) -> Value<Secret> {
    let wrong = |cause: &str| {
        Wrong::new(format!("this is not the URL of a web server: {cause}"))
            .expected("https://host/path or http://host:port/path")
    };
    let rest = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let rest = rest.ok_or_else(|| wrong("it begins with neither https:// nor http://"))?;
    if text.len() > URL {
        return Err(wrong(&format!("it has more than {URL} bytes")));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
        return Err(wrong("it holds a character that has no place there").help("write it as %XX"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(wrong("it holds a login").help("put the token into the path, as such services do"));
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.contains(':') => {
            (address, port.strip_prefix(':').or((!port.is_empty()).then_some("")))
        }
        Some(_) => return Err(wrong("brackets are for IPv6 addresses")),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if value::host(host).is_err() || port.is_some_and(|port| value::port(port).is_err()) {
        return Err(wrong("its host or port is none"));
    }
    Ok(Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in
            ["https://hc.example.org/ping/1", "http://[::1]:8080/x?y#z", "http://localhost", "http://a:1/"]
        {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "https://",
            "ftp://x/",
            "https:///x",
            "https://a b/",
            "https://u:p@x/",
            "https://x:0/",
            "https://[::1]x/",
            "https://x/\"",
            "HTTPS ://x",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
        assert!(url(&format!("https://x/{}", "y".repeat(URL))).is_err());
    }
}
