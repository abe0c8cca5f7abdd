//! An authority of the test's own, and what it signs.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

use super::{USER, output};

/// A certificate and its private key, PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key; only its owner reads it.
    pub key: PathBuf,
}

/// An authority, and the server's certificate.
#[derive(Debug, Clone)]
pub struct Certificates {
    directory: PathBuf,
    authority: Certificate,
    server: Certificate,
}

impl Certificates {
    /// Makes them in `directory`; the server's is good for `localhost` and for `address`.
    pub(super) fn make(directory: &Path, address: &str) -> Self {
        let directory = directory.join("certificates");
        std::fs::create_dir(&directory).expect("a directory of ours");
        let authority = pair(&directory, "ca");
        let extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"];
        request(&authority, "Authority of a test", &extensions, None);
        let server = pair(&directory, "server");
        let names = format!("subjectAltName=DNS:localhost,IP:{address}");
        request(&server, "localhost", &["basicConstraints=critical,CA:FALSE", &names], Some(&authority));
        if geteuid().is_root() {
            output(Command::new("chown").arg(format!("{USER}:")).arg(&server.key));
        }
        Self { directory, authority, server }
    }

    /// The authority's certificate: `sslrootcert` of clients.
    pub fn authority(&self) -> &Path {
        &self.authority.certificate
    }

    /// The server's own.
    pub(super) fn server(&self) -> &Certificate {
        &self.server
    }

    /// A new one for the role `name`, whose key belongs to whom the test runs as.
    pub fn client(&self, name: &str) -> Certificate {
        let client = pair(&self.directory, name);
        request(&client, name, &["basicConstraints=critical,CA:FALSE"], Some(&self.authority));
        client
    }

    /// One for the role `name` that another authority signed.
    pub fn stranger(&self, name: &str) -> Certificate {
        let stranger = pair(&self.directory, &format!("stranger-{name}"));
        request(&stranger, name, &["basicConstraints=critical,CA:FALSE"], None);
        stranger
    }
}

fn pair(directory: &Path, name: &str) -> Certificate {
    Certificate {
        certificate: directory.join(format!("{name}.pem")),
        key: directory.join(format!("{name}.key")),
    }
}

/// Makes a key pair and its certificate, signed by `authority` or by itself.
fn request(of: &Certificate, name: &str, extensions: &[&str], authority: Option<&Certificate>) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    openssl.args(["-days", "2", "-subj", &format!("/CN={name}")]);
    for extension in extensions {
        openssl.args(["-addext", extension]);
    }
    if let Some(authority) = authority {
        openssl.arg("-CA").arg(&authority.certificate).arg("-CAkey").arg(&authority.key);
    }
    // openssl makes the key 0600.
    output(openssl.arg("-keyout").arg(&of.key).arg("-out").arg(&of.certificate));
}
