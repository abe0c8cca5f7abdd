//! One GET of a URL after a good run: where these stop, somebody else sees that the whole host is dead.
//!
//! The URL is a password of sorts. No message of this crate holds any part of it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// How long one GET may take, redirects included.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Redirects that are followed; one from `https` to `http` is not.
const REDIRECTS: u32 = 3;

/// Why a heartbeat did not arrive, as far as anybody may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// Asks for `url` once, at most for `patience`. It arrived if the answer is a 2xx; what else it says is not read.
///
/// Certificates are verified by the authorities of this system (or of `SSL_CERT_FILE`). A proxy is used where the
/// environment names one (`https_proxy`, `no_proxy`).
pub fn beat(url: &str, patience: Duration) -> Result<(), Fault> {
    let secure = url.starts_with("https:");
    let config = Agent::config_builder()
        .timeout_global(Some(patience))
        .max_redirects(REDIRECTS)
        .https_only(secure)
        .user_agent(concat!("fleet-health/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls(secure))
        .build();
    match Agent::from(config).get(url).call() {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(refused(answer.status().as_u16())),
        Err(error) => Err(fault(&error)),
    }
}

fn tls(secure: bool) -> TlsConfig {
    let authorities = if secure { rustls_native_certs::load_native_certs().certs } else { Vec::new() };
    let roots = authorities.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .build()
}

/// What happened, in our own words: those of the client's errors may hold the URL.
fn fault(error: &ureq::Error) -> Fault {
    use ureq::Error;
    let text = match error {
        Error::StatusCode(status) => return refused(*status),
        Error::Timeout(_) => "it did not answer in time",
        Error::HostNotFound => return Fault(NO_HOST.to_owned()),
        Error::TooManyRedirects => "it leads to another place again and again",
        Error::RequireHttpsOnly(_) => "it leads from https to http, which is not followed",
        Error::ConnectionFailed => "its host does not answer",
        Error::Io(error) => return Fault(broken(error)),
        Error::Tls(_) | Error::Rustls(_) => {
            "its certificate is not accepted by the authorities of this system, or the other side speaks no TLS"
        }
        Error::InvalidProxyUrl | Error::ConnectProxyFailed(_) => {
            "the proxy that the environment names (https_proxy) does not work"
        }
        _ => "the answer is none of a web server",
    };
    Fault(text.to_owned())
}

const NO_HOST: &str = "its host is not found; see the name in config.xml, and this host's DNS";

fn refused(status: u16) -> Fault {
    Fault(format!("it answered {status}, not 200; see whether the URL in config.xml is still right"))
}

fn broken(error: &io::Error) -> String {
    // TLS comes wrapped in an error of the stream.
    let is_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).is_some();
    match error.kind() {
        // What std says of the resolver's (getaddrinfo(3)) failures has no kind of its own.
        _ if error.to_string().starts_with("failed to lookup") => NO_HOST.to_owned(),
        _ if is_tls => "its certificate is not accepted by the authorities of this system".to_owned(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "it did not answer in time".to_owned(),
        kind => format!("the connection failed: {kind}"),
    }
}
