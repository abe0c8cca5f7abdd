//! `<mail>`: how mail goes out.

use std::path::PathBuf;

use crate::environment::Environment;
use crate::fault::Wrong;
use crate::grammar;
use crate::reading::{At, Reading};
use crate::receiver;
use crate::settings::{Mail, Mailing, SecretSource, Smtp, Tls, Transport};
use crate::tree::Element;
use crate::value;

/// Where every system with a mailer has the program (LSB core, 17.2).
pub(crate) const SENDMAIL: &str = "/usr/sbin/sendmail";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Smtp,
    Sendmail,
    Directory,
}

const WAYS: [(&str, Way); 3] =
    [("smtp", Way::Smtp), ("sendmail", Way::Sendmail), ("directory", Way::Directory)];

#[derive(Default)]
struct Written {
    way: Option<At<Way>>,
    host: Option<At<String>>,
    port: Option<At<u16>>,
    tls: Option<At<Tls>>,
    from: Option<At<String>>,
    username: Option<At<String>>,
    password: Option<At<SecretSource>>,
    ca_file: Option<At<PathBuf>>,
    path: Option<At<PathBuf>>,
    admin: Vec<String>,
    mailing: Mailing,
}

/// Reads `<mail>`; `None` where it is wrong.
pub(crate) fn read(reading: &mut Reading<'_>, element: &Element<'_>) -> Option<Mail> {
    reading.holds_nothing(element);
    let mut written = Written::default();
    for attribute in grammar::known(&mut reading.sink, element) {
        match attribute.name {
            "transport" => written.way = reading.take(attribute, |text| value::one_of(text, &WAYS)),
            "host" => written.host = reading.take(attribute, value::host),
            "port" => written.port = reading.take(attribute, value::port),
            "tls" => {
                let names = [("starttls", Tls::StartTls), ("tls", Tls::Tls), ("none", Tls::None)];
                written.tls = reading.take(attribute, |text| value::one_of(text, &names));
            }
            "from" => written.from = reading.take(attribute, value::mail_address),
            "username" => written.username = reading.take(attribute, value::text),
            "password" | "password-file" | "password-command" => {
                reading.secret(attribute, &mut written.password);
            }
            "ca-file" => written.ca_file = reading.path(attribute),
            "path" => written.path = reading.path(attribute),
            "text-only" | "repeat" | "max-per-hour" => {
                receiver::read_mailing(reading, attribute, &mut written.mailing);
            }
            _ => {
                let admin = reading.take(attribute, value::mail_addresses);
                written.admin = admin.map(|admin| admin.value).unwrap_or_default();
            }
        }
    }
    let given = |name: &str| element.attributes.iter().any(|attribute| attribute.name == name);
    let way = match &written.way {
        Some(way) => way.value,
        None if given("transport") => return None,
        None if given("host") => Way::Smtp,
        None => Way::Sendmail,
    };
    misplaced(reading, element, way);
    let from = written.from.take().map_or_else(|| default_from(reading.environment), |from| from.value);
    let admin = std::mem::take(&mut written.admin);
    let mailing = written.mailing;
    let transport = match way {
        Way::Smtp => Transport::Smtp(smtp(reading, element, written)?),
        Way::Sendmail => {
            Transport::Sendmail(written.path.map_or_else(|| PathBuf::from(SENDMAIL), |path| path.value))
        }
        Way::Directory => {
            reading.missing(element, "path", "path=\"...\": the directory that the mails are put into");
            Transport::Directory(written.path?.value)
        }
    };
    Some(Mail { transport, from, admin, mailing })
}

/// Reports the attributes that another transport has.
fn misplaced(reading: &mut Reading<'_>, element: &Element<'_>, way: Way) {
    let of_smtp =
        ["host", "port", "tls", "username", "password", "password-file", "password-command", "ca-file"];
    let name = WAYS.iter().find(|(_, known)| *known == way).map_or("", |(name, _)| name);
    for attribute in &element.attributes {
        let belongs = match attribute.name {
            "path" => way != Way::Smtp,
            other => way == Way::Smtp || !of_smtp.contains(&other),
        };
        if !belongs {
            let wrong = Wrong::new(format!("`{}` has no meaning with transport=\"{name}\"", attribute.name));
            reading.report(attribute.at, wrong.help("remove it, or say another transport"));
        }
    }
}

fn smtp(reading: &mut Reading<'_>, element: &Element<'_>, written: Written) -> Option<Smtp> {
    reading.missing(element, "host", "host=\"mail.example.org\"");
    let host = written.host?;
    // Port 465 is TLS from the first byte (RFC 8314): STARTTLS there would wait for ever.
    let implied =
        if written.port.as_ref().is_some_and(|port| port.value == 465) { Tls::Tls } else { Tls::StartTls };
    let tls = written.tls.as_ref().map_or(implied, |tls| tls.value);
    if let Some(at) = written.tls.as_ref().filter(|_| tls == Tls::None && !value::is_loopback(&host.value)) {
        let wrong =
            Wrong::new("mail would go out in the clear: tls=\"none\" is for this machine itself only");
        let expected = "tls=\"starttls\" or tls=\"tls\"; with \"none\", the host localhost, 127.0.0.1 or ::1";
        reading
            .report(at.span, wrong.expected(expected).help("for a certificate of your own: ca-file=\"...\""));
    }
    let default_port = match tls {
        Tls::StartTls => 587,
        Tls::Tls => 465,
        Tls::None => 25,
    };
    let given = |name: &str| element.attributes.iter().any(|attribute| attribute.name.starts_with(name));
    if given("password") && !given("username") {
        reading.missing(element, "username", "username=\"...\" beside the password");
    }
    if let Some(username) = &written.username
        && !given("password")
    {
        let wrong = Wrong::new("a username without a password");
        reading
            .report(username.span, wrong.expected("password-file, password-command or password beside it"));
    }
    let login =
        written.username.map(|username| username.value).zip(written.password.map(|password| password.value));
    let port = written.port.map_or(default_port, |port| port.value);
    Some(Smtp { host: host.value, port, tls, login, ca_file: written.ca_file.map(|path| path.value) })
}

/// `fleet-health@` this host.
pub(crate) fn default_from(environment: &Environment) -> String {
    let from = format!("fleet-health@{}", environment.hostname);
    value::mail_address(&from).unwrap_or_else(|_| "fleet-health@localhost".to_owned())
}
