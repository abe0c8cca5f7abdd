//! What the values of attributes mean: one function per kind of value.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use chrono_tz::Tz;
use model::text::escape_to;
use model::{ClientName, Unit};

use crate::fault::Wrong;
use crate::nearest::nearest;
use crate::settings::NEVER;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A client counts at most so many processes by name.
const PROCESSES: usize = 32;

/// A result that says what is wrong with a value.
pub(crate) type Value<T> = Result<T, Wrong>;

/// A value as faults show it.
pub(crate) fn quoted(text: &str) -> String {
    let blanks = if text.trim() == text { "" } else { " (with blanks around it)" };
    format!("\"{}\"{blanks}", escape_to(text, 60))
}

/// The items of a list; commas and blanks separate them.
pub(crate) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty())
}

/// A list of at least one item, each read by `item`.
pub(crate) fn list<T>(text: &str, item: impl FnMut(&str) -> Value<T>) -> Value<Vec<T>> {
    let list: Vec<T> = items(text).map(item).collect::<Value<_>>()?;
    if list.is_empty() {
        return Err(Wrong::new("the list is empty").help("leave the attribute out where nothing is meant"));
    }
    Ok(list)
}

/// Any text but an empty one, without control characters.
pub(crate) fn text(text: &str) -> Value<String> {
    if text.trim().is_empty() {
        return Err(Wrong::new("the value is empty").help("leave the attribute out where nothing is meant"));
    }
    if text.chars().any(char::is_control) {
        return Err(Wrong::new("the value holds a control character").help("remove it"));
    }
    Ok(text.to_owned())
}

/// One of `names`, each with its meaning.
pub(crate) fn one_of<T: Copy>(text: &str, names: &[(&str, T)]) -> Value<T> {
    if let Some((_, meaning)) = names.iter().find(|(name, _)| *name == text) {
        return Ok(*meaning);
    }
    let known: Vec<_> = names.iter().map(|(name, _)| *name).collect();
    let near = nearest(text, known.iter().copied()).map(|name| format!("did you mean \"{name}\"?"));
    Err(Wrong::new(format!("{} is not known here", quoted(text))).expected(known.join(", ")).maybe_help(near))
}

/// `true` or `false`.
pub(crate) fn boolean(text: &str) -> Value<bool> {
    one_of(text, &[("true", true), ("false", false)])
}

/// A TCP port.
pub(crate) fn port(text: &str) -> Value<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port > 0).ok_or_else(|| {
        Wrong::new(format!("{} is not a port", quoted(text))).expected("a number from 1 to 65535")
    })
}

/// A whole number within bounds.
pub(crate) fn count(text: &str, least: usize, most: usize) -> Value<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|count| digits && (least..=most).contains(count)).ok_or_else(|| {
        Wrong::new(format!("{} does not fit", quoted(text)))
            .expected(format!("a number from {least} to {most}"))
    })
}

/// A client's name.
pub(crate) fn client_name(text: &str) -> Value<ClientName> {
    text.parse().map_err(|error: String| Wrong::new(error).expected("letters, digits and .:_@-"))
}

/// The name of a template or a group.
pub(crate) fn plain_name(text: &str) -> Value<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.is_empty() || text.len() > 255 || !text.chars().all(allowed) {
        let wrong = Wrong::new(format!("{} is not a name", quoted(text)));
        return Err(wrong.expected("1 to 255 letters, digits and ._-"));
    }
    Ok(text.to_owned())
}

/// Names of groups.
pub(crate) fn groups(text: &str) -> Value<BTreeSet<String>> {
    list(text, plain_name).map(BTreeSet::from_iter)
}

/// Names of processes, each once. Linux cuts a `comm` to 15 bytes (proc(5)); the last part of an argument may be longer.
pub(crate) fn processes(text: &str) -> Value<Vec<String>> {
    let name = |item: &str| {
        if item.len() > 64 || !item.bytes().all(|byte| byte.is_ascii_graphic()) {
            let wrong = Wrong::new(format!("{} is not the name of a process", quoted(item)));
            return Err(wrong.expected("1 to 64 visible ASCII characters, as in sshd or kworker/0:1"));
        }
        Ok(item.to_owned())
    };
    let mut names: Vec<String> = list(text, name)?;
    let mut known = BTreeSet::new();
    names.retain(|name| known.insert(name.clone()));
    if names.len() > PROCESSES {
        return Err(Wrong::new(format!("a client counts at most {PROCESSES} processes by name")));
    }
    Ok(names)
}

/// A time zone of the IANA database. Links of old (`US/Eastern`) are known, and case matters, as in TZ.
pub(crate) fn time_zone(text: &str) -> Value<Tz> {
    text.parse().map_err(|_| {
        let near = nearest(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        Wrong::new(format!("{} is not a time zone", quoted(text)))
            .expected("a name of the IANA database, as in Europe/Berlin or UTC")
            .maybe_help(near.map(|near| format!("did you mean \"{near}\"?")))
    })
}

/// The name or address of a host, without a port.
pub(crate) fn host(text: &str) -> Value<String> {
    let wrong = || Wrong::new(format!("{} is neither a host's name nor an address", quoted(text)));
    let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inner) = unbracketed {
        return Err(wrong().help(format!("write it without brackets: {}", quoted(inner))));
    }
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let zone_fits = |zone: &str| {
        !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    match address.parse() {
        Ok(IpAddr::V6(_)) if zone.is_none_or(zone_fits) => return Ok(text.to_owned()),
        Ok(IpAddr::V4(_)) if zone.is_none() => return Ok(text.to_owned()),
        _ => {}
    }
    if let Some((user, rest)) = text.split_once('@') {
        let help = format!("write username={} ip={}", quoted(user), quoted(rest));
        return Err(wrong().help(help));
    }
    if let Some((name, port)) = text.rsplit_once(':')
        && port.parse::<u16>().is_ok()
        && !name.contains(':')
    {
        return Err(wrong().help(format!("write ip={} port={}", quoted(name), quoted(port))));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name =
        !text.is_empty() && text.len() <= 253 && !text.starts_with(['-', '.']) && text.bytes().all(allowed);
    let looks_like_address = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if !is_name || looks_like_address {
        return Err(wrong().expected("a name as in DNS, or an IPv4 or IPv6 address"));
    }
    Ok(text.to_owned())
}

/// Whether `host` is this machine, whatever the resolver says (RFC 6761, 6.3; RFC 1122, 3.2.1.3; RFC 4291, 2.5.3).
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// A mail address that cannot bend a message's header or envelope (a strict part of RFC 5321's Mailbox).
pub(crate) fn mail_address(text: &str) -> Value<String> {
    let wrong = |cause: &str| Wrong::new(format!("{} is not a mail address: {cause}", quoted(text)));
    let expected = "local@domain, as in ops@example.org";
    let Some((local, domain)) = text.split_once('@') else {
        return Err(wrong("it has no @")
            .expected(expected)
            .help("for a mailbox of this host: name@localhost"));
    };
    let local_fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let domain_fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let dots_fit = |part: &str| !part.starts_with('.') && !part.ends_with('.') && !part.contains("..");
    let cause = if domain.contains('@') {
        "it has more than one @"
    } else if local.is_empty() || domain.is_empty() {
        "a part is empty"
    } else if local.len() > 64 || text.len() > 254 {
        "it is too long"
    } else if !local.bytes().all(local_fits) || !domain.bytes().all(domain_fits) {
        "it holds a character that has no place there"
    } else if !dots_fit(local) || !dots_fit(domain) || domain.starts_with('-') {
        "a dot or hyphen stands where none belongs"
    } else {
        return Ok(text.to_owned());
    };
    Err(wrong(cause).expected(expected))
}

/// Several mail addresses, each once.
pub(crate) fn mail_addresses(text: &str) -> Value<Vec<String>> {
    let mut addresses: Vec<String> = Vec::new();
    for address in list(text, mail_address)? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

/// Seconds by their unit; `None` for what is no number with a known unit.
fn seconds(text: &str) -> Option<f64> {
    let factor = |unit: &str| match unit {
        "" | "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        "d" => Some(86_400.0),
        "w" => Some(604_800.0),
        "y" => Some(31_536_000.0),
        _ => None,
    };
    scaled(text, factor)
}

/// A span of time within bounds: `90s`, `15m`, `2h`, `31d`, `1y`; a bare number is seconds.
pub(crate) fn duration(text: &str, least: Duration, most: Duration) -> Value<Duration> {
    let expected = || {
        let show = |duration: Duration| Unit::Seconds.show(duration.as_secs_f64());
        format!("a number with s, m, h, d, w or y, from {} to {}", show(least), show(most))
    };
    let duration = seconds(text).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration
        .filter(|duration| (least..=most).contains(duration))
        .ok_or_else(|| Wrong::new(format!("{} does not fit", quoted(text))).expected(expected()))
}

/// A span of whole seconds as [`duration`] reads it, in the greatest unit that fits.
pub(crate) fn written(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let (size, unit) = units.into_iter().find(|(size, _)| seconds.is_multiple_of(*size)).unwrap_or((1, "s"));
    format!("{}{unit}", seconds / size)
}

/// After how long a reminder comes; `never` is as long as times can be.
pub(crate) fn repeat(text: &str) -> Value<Duration> {
    if text.trim() == "never" {
        return Ok(NEVER);
    }
    duration(text, MINUTE, DAY * 365).map_err(|wrong| wrong.help("for no reminders: never"))
}

/// Milliseconds as rules have them.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A limit in the base unit of a metric: `90%`, `10G` (powers of 1024), `15m`, `1.5`, `yes`.
pub(crate) fn limit(text: &str, unit: Unit, may_be_negative: bool) -> Value<f64> {
    let (number, expected) = match unit {
        Unit::Percent => {
            (scaled(text, |unit| ["", "%"].contains(&unit).then_some(1.0)), "a percentage, as in 90 or 90%")
        }
        Unit::Bytes => (scaled(text, byte_factor), "bytes, as in 512M, 10G or 1.5T (powers of 1024)"),
        Unit::BytesPerSecond => {
            let factor = |unit: &str| byte_factor(unit.strip_suffix("/s").unwrap_or(unit));
            (scaled(text, factor), "bytes per second, as in 512K or 10M (powers of 1024)")
        }
        Unit::Seconds => (seconds(text), "a span of time, as in 30, 90s, 15m, 2h or 1d"),
        Unit::Celsius => {
            let factor = |unit: &str| ["", "C", "°C"].contains(&unit).then_some(1.0);
            (scaled(text, factor), "degrees Celsius, as in 70 or 70C")
        }
        Unit::PerSecond | Unit::Count => {
            (scaled(text, |unit| unit.is_empty().then_some(1.0)), "a plain number, as in 4 or 1.5")
        }
        Unit::Flag => {
            let flag = match text {
                "yes" | "true" | "1" => Some(1.0),
                "no" | "false" | "0" => Some(0.0),
                _ => None,
            };
            (flag, "yes or no")
        }
    };
    let wrong = || Wrong::new(format!("{} is not a limit here", quoted(text))).expected(expected);
    match number {
        None if text.contains(',') => Err(wrong().help("write a point where decimals begin, as in 0.5")),
        None => Err(wrong()),
        Some(number) if number < 0.0 && !may_be_negative => Err(wrong().help("its values are never below 0")),
        Some(number) => Ok(number),
    }
}

fn byte_factor(unit: &str) -> Option<f64> {
    let unit = unit.to_ascii_uppercase();
    let prefix = unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit);
    let power = ["", "K", "M", "G", "T", "P"].iter().position(|known| *known == prefix)?;
    Some(1024_f64.powi(power as i32))
}

/// The number at the beginning of `text`, times what `factor` says of the rest. Digits and one point only: no
/// exponents, no `inf`, no `NaN`; below 10^18, so that sums and products stay exact enough.
fn scaled(text: &str, factor: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let text = text.trim();
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let length = unsigned.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = unsigned.split_at(length);
    let whole = number.split('.').next().unwrap_or_default();
    if whole.is_empty() || number.ends_with('.') || number.len() > 30 {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let value = number * factor(unit.trim_start())?;
    let sign = if unsigned.len() < text.len() { -1.0 } else { 1.0 };
    (value < 1e18).then_some(sign * value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_by_unit() {
        for (text, unit, expected) in [
            ("90", Unit::Percent, Some(90.0)),
            ("90%", Unit::Percent, Some(90.0)),
            ("90 %", Unit::Percent, Some(90.0)),
            ("99.5%", Unit::Percent, Some(99.5)),
            ("90%%", Unit::Percent, None),
            ("%", Unit::Percent, None),
            ("", Unit::Percent, None),
            ("-1", Unit::Percent, None),
            ("NaN", Unit::Percent, None),
            ("inf", Unit::Count, None),
            ("1e3", Unit::Count, None),
            ("0x10", Unit::Count, None),
            (".5", Unit::Count, None),
            ("5.", Unit::Count, None),
            ("1.2.3", Unit::Count, None),
            ("1,5", Unit::Count, None),
            ("0.5", Unit::Count, Some(0.5)),
            ("512M", Unit::Bytes, Some(536_870_912.0)),
            ("1.5T", Unit::Bytes, Some(1_649_267_441_664.0)),
            ("10GiB", Unit::Bytes, Some(10_737_418_240.0)),
            ("10kb", Unit::Bytes, Some(10_240.0)),
            ("10iB", Unit::Bytes, Some(10.0)),
            ("10X", Unit::Bytes, None),
            ("1M/s", Unit::BytesPerSecond, Some(1_048_576.0)),
            ("1M/h", Unit::BytesPerSecond, None),
            ("30", Unit::Seconds, Some(30.0)),
            ("15m", Unit::Seconds, Some(900.0)),
            ("1d", Unit::Seconds, Some(86_400.0)),
            ("1month", Unit::Seconds, None),
            ("70", Unit::Celsius, Some(70.0)),
            ("70 °C", Unit::Celsius, Some(70.0)),
            ("158F", Unit::Celsius, None),
            ("yes", Unit::Flag, Some(1.0)),
            ("0", Unit::Flag, Some(0.0)),
            ("2", Unit::Flag, None),
            ("9999999999999999999999", Unit::Count, None),
        ] {
            assert_eq!(limit(text, unit, false).ok(), expected, "{text} {unit:?}");
        }
        assert_eq!(limit("-2.5", Unit::Seconds, true).ok(), Some(-2.5));
    }

    #[test]
    fn hosts() {
        for good in
            ["web1", "web-1.example.org", "10.0.0.1", "::1", "fe80::1%eth0", "localhost", "3com.example"]
        {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "[::1]",
            "ops@web1",
            "web1:22",
            "10.0.0.300",
            "a b",
            "-x",
            "10.0.0.1%eth0",
            "fe80::1%",
            "wéb",
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mail_addresses_bend_no_header() {
        for good in ["a@example.org", "root@localhost", "a.b+c@x-y.org"] {
            assert_eq!(mail_address(good).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "a",
            "a@",
            "@b",
            "a@b@c",
            "a@b\r\nBcc: x@y",
            "a b@c",
            "a@b>",
            "a..b@c",
            ".a@b",
            "a@-b",
            "ä@b",
            "\"a\"@b",
        ] {
            assert!(mail_address(bad).is_err(), "{bad}");
        }
        assert_eq!(mail_addresses("a@b, c@d a@b").unwrap(), ["a@b", "c@d"]);
        assert!(mail_addresses(" , ").is_err());
    }

    #[test]
    fn loopback() {
        for (host, loopback) in
            [("localhost", true), ("127.8.0.1", true), ("::1", true), ("10.0.0.1", false), ("x", false)]
        {
            assert_eq!(is_loopback(host), loopback, "{host}");
        }
    }

    #[test]
    fn durations() {
        let duration = |text| duration(text, Duration::from_secs(1), DAY).ok();
        assert_eq!(duration("60"), Some(Duration::from_secs(60)));
        assert_eq!(duration("1.5m"), Some(Duration::from_secs(90)));
        for bad in ["", "0", "2d", "m", "-5s", "5 parsecs"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn limits_round_trip(value in 0_u32..1_000_000, decimals in 0_u32..100) {
            let text = format!("{value}.{decimals:02}");
            let expected: f64 = text.parse().unwrap();
            prop_assert_eq!(limit(&text, Unit::Percent, false).ok(), Some(expected));
            prop_assert_eq!(limit(&format!("{text}%"), Unit::Percent, false).ok(), Some(expected));
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            for unit in [Unit::Percent, Unit::Bytes, Unit::BytesPerSecond, Unit::Seconds, Unit::Count, Unit::Flag] {
                if let Ok(value) = limit(&text, unit, true) {
                    prop_assert!(value.is_finite());
                }
            }
            let _ = (host(&text), mail_addresses(&text), groups(&text), port(&text), client_name(&text));
        }

        #[test]
        fn names_round_trip(name in "[A-Za-z0-9.:_@-]{1,60}") {
            let parsed = client_name(&name).unwrap();
            prop_assert_eq!(parsed.as_str(), name);
        }
    }
}
