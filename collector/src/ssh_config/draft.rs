//! The element of one host on its way.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use model::text::escape;

use super::answers::Answers;

/// Options that change how ssh gets to a host, and that config.xml cannot say.
const NOT_SAID: [&str; 7] = [
    "certificatefile",
    "pkcs11provider",
    "gssapiauthentication",
    "bindaddress",
    "bindinterface",
    "hostkeyalias",
    "addressfamily",
];

/// What is known of one host.
pub(super) struct Draft<'a> {
    pub(super) host: &'a str,
    pub(super) answers: &'a Answers,
    /// What ssh says where no file says anything.
    pub(super) nothing: &'a Answers,
    pub(super) home: Option<&'a Path>,
    pub(super) remarks: &'a mut Vec<String>,
}

impl<'a> Draft<'a> {
    /// The hops on the way, as they are written.
    pub(super) fn jumps(&self) -> Vec<&'a str> {
        self.set("proxyjump").map_or_else(Vec::new, |jumps| jumps.split(',').collect())
    }

    /// The line of the client; `hops` are what config.xml calls those of [`Self::jumps`].
    pub(super) fn element(&mut self, hops: &[String], is_hop: bool) -> String {
        let mut attributes = vec![("name", self.host.to_owned())];
        attributes.push(("ip", self.answers.one("hostname").unwrap_or(self.host).to_owned()));
        let port = self.answers.one("port").filter(|port| *port != "22");
        attributes.extend(port.map(|port| ("port", port.to_owned())));
        attributes.extend(self.answers.one("user").map(|user| ("username", user.to_owned())));
        for (keyword, name) in [("identityfile", "identity-file"), ("userknownhostsfile", "known-hosts")] {
            let files = self.files(keyword);
            if !files.is_empty() {
                attributes.push((name, files.join(" ")));
            }
        }
        match self.own("identityagent") {
            Some("none") => {
                self.remark(
                    "IdentityAgent none: without an identity-file the agent of SSH_AUTH_SOCK is asked",
                );
            }
            Some("SSH_AUTH_SOCK") | None => {}
            Some(agent) => attributes.push(("identity-agent", agent.to_owned())),
        }
        match self.own("stricthostkeychecking") {
            Some("accept-new") => {
                attributes.push(("host-key-policy", "accept-new".to_owned()));
                self.remark(
                    "StrictHostKeyChecking accept-new: its first host key will be accepted; beside a password that is a \
                     fault",
                );
            }
            Some("false" | "no" | "off") => {
                self.remark(
                    "StrictHostKeyChecking no: config.xml cannot say that; host keys are always verified",
                );
            }
            _ => {}
        }
        if !hops.is_empty() {
            attributes.push(("proxy-jump", hops.join(" ")));
        } else if let Some(command) = self.set("proxycommand") {
            attributes.push(("proxy-command", command.to_owned()));
        }
        for keyword in NOT_SAID {
            if let Some(value) = self.own(keyword) {
                self.remark(&format!("{keyword} {}: config.xml cannot say that", escape(value)));
            }
        }
        if is_hop {
            attributes.push(("enabled", "false".to_owned()));
        }
        let mut element = "  <client".to_owned();
        for (name, value) in attributes {
            let _ = write!(element, " {name}=\"{}\"", attribute(&value));
        }
        element + "/>\n"
    }

    /// The value of `keyword`, where a file says it.
    fn own(&self, keyword: &str) -> Option<&'a str> {
        self.answers.one(keyword).filter(|value| self.nothing.one(keyword) != Some(value))
    }

    /// The same, but for `none`.
    fn set(&self, keyword: &str) -> Option<&'a str> {
        self.own(keyword).filter(|value| *value != "none")
    }

    /// The files that a file names and that are there; absolute.
    fn files(&mut self, keyword: &str) -> Vec<String> {
        let said = self.answers.all(keyword);
        if said == self.nothing.all(keyword) {
            return Vec::new();
        }
        let mut files = Vec::new();
        // identityfile comes once a file, the known hosts all on one line.
        let each = said.iter().flat_map(|value| {
            if keyword == "identityfile" { vec![&**value] } else { value.split(' ').collect() }
        });
        for file in each {
            let path = match (file.strip_prefix("~/"), self.home) {
                (Some(rest), Some(home)) => home.join(rest),
                _ => PathBuf::from(file),
            };
            let text = path.display().to_string();
            if text.contains([',', ' ', '\t']) {
                self.remark(&format!(
                    "{}: a path with blanks or commas cannot be in a list; left out",
                    escape(&text)
                ));
            } else if path.exists() {
                files.push(text);
            } else if keyword == "identityfile" {
                self.remark(&format!("{}: is not there; left out", escape(&text)));
            }
        }
        files
    }

    fn remark(&mut self, text: &str) {
        self.remarks.push(format!("{}: {text}", self.host));
    }
}

/// Text as an attribute's value.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafted(said: &str, nothing: &str, hops: &[String]) -> (String, Vec<String>) {
        let (answers, nothing) = (Answers::parse(said), Answers::parse(nothing));
        let mut remarks = Vec::new();
        let mut draft =
            Draft { host: "web1", answers: &answers, nothing: &nothing, home: None, remarks: &mut remarks };
        assert_eq!(draft.jumps().len(), hops.len());
        let element = draft.element(hops, false);
        (element, remarks)
    }

    #[test]
    fn what_ssh_says_becomes_an_element() {
        let (element, remarks) = drafted(
            "host web1\nuser o\"ps\nhostname 192.0.2.1\nport 2200\nidentityfile /etc/passwd\nidentityfile /nonexistent\n\
             proxyjump bastion,db1\nhostkeyalias alias\ngssapiauthentication no\n",
            "identityfile ~/.ssh/id_rsa\ngssapiauthentication no\n",
            &["gate@[fe80::1]:2222".to_owned(), "db1".to_owned()],
        );
        assert_eq!(
            element,
            "  <client name=\"web1\" ip=\"192.0.2.1\" port=\"2200\" username=\"o&quot;ps\" identity-file=\"/etc/passwd\" \
             proxy-jump=\"gate@[fe80::1]:2222 db1\"/>\n"
        );
        assert_eq!(
            remarks,
            [
                "web1: /nonexistent: is not there; left out",
                "web1: hostkeyalias alias: config.xml cannot say that"
            ]
        );
    }

    #[test]
    fn what_no_file_says_is_left_to_the_defaults() {
        let usual = "identityfile /etc/passwd\nuserknownhostsfile /etc/passwd\nport 22\nproxycommand none\n";
        let (element, remarks) = drafted(&format!("hostname h\nuser u\n{usual}"), usual, &[]);
        assert_eq!(element, "  <client name=\"web1\" ip=\"h\" username=\"u\"/>\n");
        assert!(remarks.is_empty(), "{remarks:?}");
    }
}
