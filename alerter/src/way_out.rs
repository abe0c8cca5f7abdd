//! Which transport serves the configuration.

use std::path::Path;

use config::{Settings, Transport as Configured};

use crate::transport::Transport;
use crate::transport::directory::Directory;
use crate::transport::sendmail::Sendmail;
use crate::transport::smtp::{Patience, Server};

/// The local mail system that serves where config.xml has no `<mail>`.
pub const SENDMAIL: &str = "/usr/sbin/sendmail";

/// The sender's address: that of `<mail>`, else this product's on this machine.
pub fn sender(settings: &Settings, hostname: &str) -> String {
    settings.mail.as_ref().map_or_else(|| format!("fleet-health@{hostname}"), |mail| mail.from.clone())
}

/// The way out, or `None` where there is none: no `<mail>`, and no program at `sendmail`.
pub fn transport(settings: &Settings, hostname: &str, sendmail: &Path) -> Option<Box<dyn Transport>> {
    let from = sender(settings, hostname);
    let Some(mail) = &settings.mail else {
        let program = sendmail.to_path_buf();
        return sendmail.exists().then(|| Box::new(Sendmail { program, from }) as Box<dyn Transport>);
    };
    Some(match mail.transport.clone() {
        Configured::Smtp(smtp) => Box::new(Server::new(smtp, from, hostname, Patience::default())),
        Configured::Sendmail(program) => Box::new(Sendmail { program, from }),
        Configured::Directory(directory) => Box::new(Directory(directory)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(mail: &str, sendmail: &str) -> Option<String> {
        let environment = config::Environment::default();
        let text = format!("<config><storage url=\"sqlite:///x/fleet.db\"/>{mail}</config>");
        let settings = config::parse(&text, Path::new("/etc/config.xml"), &environment).unwrap();
        transport(&settings, "mgmt1", Path::new(sendmail)).map(|transport| transport.name())
    }

    #[test]
    fn mail_says_the_way_else_the_local_sendmail_serves_if_it_is_there() {
        assert_eq!(name("", "/nonexistent"), None);
        assert_eq!(name("", "/bin/sh").as_deref(), Some("/bin/sh"));
        assert_eq!(
            name("<mail host=\"mail.example.org\"/>", "/bin/sh").as_deref(),
            Some("mail.example.org:587")
        );
        assert_eq!(name("<mail transport=\"directory\" path=\"/m\"/>", "/bin/sh").as_deref(), Some("/m"));
    }
}
