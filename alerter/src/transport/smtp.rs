//! A mail server (RFC 5321), spoken to stage by stage, so that a failure before DATA is known for one.
//!
//! One connection serves all messages of a run; after an error a new one is made.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use config::{Smtp, Tls};
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use model::text::escape;
use storage::Message;

use super::{Answer, Fault, Scope, Stage, Transport};

/// How many addresses of the server's name are tried.
const ADDRESSES: usize = 4;

/// How long to wait for the server.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection, and for the answer to a command.
    pub command: Duration,
    /// For the answer to the message itself, which some servers scan first.
    pub content: Duration,
}

impl Default for Patience {
    /// Less than the minutes of RFC 5321 section 4.5.3.2 for commands, since the next run tries again.
    fn default() -> Self {
        Self { command: Duration::from_secs(30), content: Duration::from_secs(300) }
    }
}

/// A mail server.
pub struct Server {
    settings: Smtp,
    from: String,
    hello: ClientId,
    patience: Patience,
    connection: Option<SmtpConnection>,
}

impl Server {
    /// The server of `settings`, told that we are `hostname` and send as `from`. Nothing is connected yet.
    pub fn new(settings: Smtp, from: String, hostname: &str, patience: Patience) -> Self {
        let is_name =
            !hostname.is_empty() && hostname.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        let hello = ClientId::Domain(if is_name { hostname } else { "localhost" }.to_owned());
        Self { settings, from, hello, patience, connection: None }
    }

    fn connect(&self) -> Result<SmtpConnection, Fault> {
        let addresses = self.resolve()?;
        let tls = match self.settings.tls {
            Tls::None => None,
            Tls::Tls | Tls::StartTls => Some(self.tls_parameters()?),
        };
        let from_the_start = tls.as_ref().filter(|_| self.settings.tls == Tls::Tls);
        let patience = Some(self.patience.command);
        let mut connection =
            SmtpConnection::connect(&addresses[..], patience, &self.hello, from_the_start, None).map_err(
                |error| fault(Stage::Connect, Scope::All, &error, "check host, port and tls of <mail>"),
            )?;
        if let Some(tls) = tls.filter(|_| self.settings.tls == Tls::StartTls) {
            // Required: without it, nothing of ours is sent, least of all a password.
            connection.starttls(&tls, &self.hello).map_err(|error| {
                fault(
                    Stage::Tls,
                    Scope::All,
                    &error,
                    "let the server offer STARTTLS, or set tls=\"tls\" and its port in <mail>",
                )
            })?;
        }
        if let Some((username, source)) = &self.settings.login {
            let password = source
                .resolve()
                .map_err(|error| local(Stage::Login, &error, "mend the password of <mail>"))?;
            let credentials = Credentials::new(username.clone(), password.reveal().to_owned());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).map_err(|error| {
                fault(Stage::Login, Scope::All, &error, "check username and password of <mail>")
            })?;
        }
        Ok(connection)
    }

    fn resolve(&self) -> Result<Vec<SocketAddr>, Fault> {
        let Smtp { host, port, tls, .. } = &self.settings;
        let resolved = (host.as_str(), *port).to_socket_addrs();
        let addresses: Vec<SocketAddr> = match resolved {
            Ok(addresses) => addresses.take(ADDRESSES).collect(),
            Err(error) => {
                return Err(local(
                    Stage::Connect,
                    &error.to_string(),
                    "check host of <mail> and the name server",
                ));
            }
        };
        if *tls == Tls::None && !addresses.iter().all(|address| address.ip().is_loopback()) {
            let detail = format!("{host} is another machine, and mail goes there under TLS only");
            return Err(local(Stage::Connect, &detail, "set tls=\"starttls\" or tls=\"tls\" in <mail>"));
        }
        Ok(addresses)
    }

    fn tls_parameters(&self) -> Result<TlsParameters, Fault> {
        let remedy = "let ca-file of <mail> name a readable file of PEM certificates";
        let mut builder = TlsParameters::builder(self.settings.host.clone());
        if let Some(path) = &self.settings.ca_file {
            let unusable = |error: &dyn std::fmt::Display| {
                local(Stage::Tls, &format!("{}: {error}", path.display()), remedy)
            };
            let pem = std::fs::read(path).map_err(|error| unusable(&error))?;
            // The library takes a file without any for one with none to add.
            if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
                return Err(unusable(&"it holds no certificate"));
            }
            builder =
                builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| unusable(&error))?);
        }
        builder
            .build()
            .map_err(|error| fault(Stage::Tls, Scope::All, &error, "check host and ca-file of <mail>"))
    }

    /// One try over the connection that is there, or over a new one.
    fn attempt(&mut self, from: &Address, to: &Address, bytes: &[u8]) -> Answer {
        let mut connection = match self.connection.take().map_or_else(|| self.connect(), Ok) {
            Ok(connection) => connection,
            Err(fault) => return Answer::NotTaken(fault),
        };
        let answer = transact(&mut connection, from, to, bytes, self.patience);
        let is_clean = matches!(answer, Answer::Accepted { .. });
        if is_clean || (!connection.has_broken() && answered(&answer) && connection.command(Rset).is_ok()) {
            self.connection = Some(connection);
        }
        answer
    }
}

/// Whether the server answered at all, so that it makes sense to go on with it.
fn answered(answer: &Answer) -> bool {
    match answer {
        Answer::Accepted { .. } | Answer::Refused(_) => true,
        Answer::NotTaken(fault) => fault.scope == Scope::Message,
        Answer::InDoubt(_) => false,
    }
}

impl Transport for Server {
    fn deliver(&mut self, message: &Message) -> Answer {
        let from: Address = match self.from.parse() {
            Ok(from) => from,
            Err(error) => {
                let detail = format!("{}: {error}", self.from);
                return Answer::NotTaken(local(Stage::From, &detail, "let from of <mail> be an address"));
            }
        };
        let to: Address = match message.receiver.parse() {
            Ok(to) => to,
            Err(error) => {
                let detail = escape(&format!("{}: {error}", message.receiver));
                let remedy = "mend the address in config.xml";
                return Answer::Refused(Fault {
                    stage: Stage::Recipient,
                    scope: Scope::Message,
                    detail,
                    remedy,
                });
            }
        };
        let is_reused = self.connection.is_some();
        match self.attempt(&from, &to, &message.bytes) {
            // Servers limit the messages per connection and close idle ones: nothing was sent yet, so try a new one.
            Answer::NotTaken(fault) if is_reused && fault.stage == Stage::From => {
                self.connection = None;
                self.attempt(&from, &to, &message.bytes)
            }
            answer => answer,
        }
    }

    fn name(&self) -> String {
        format!("{}:{}", self.settings.host, self.settings.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            // A courtesy; what was accepted is accepted.
            let _ = connection.set_timeout(Some(Duration::from_secs(2)));
            let _ = connection.quit();
        }
    }
}

/// One mail transaction (RFC 5321 section 3.3).
fn transact(
    connection: &mut SmtpConnection,
    from: &Address,
    to: &Address,
    bytes: &[u8],
    patience: Patience,
) -> Answer {
    let is_international = [from, to].iter().any(|address| !AsRef::<str>::as_ref(address).is_ascii());
    if is_international && !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
        let detail = format!("the server does not take an address such as {to} (no SMTPUTF8)");
        let fault = Fault {
            scope: Scope::Message,
            ..local(Stage::Recipient, &detail, "use an address of ASCII letters")
        };
        return Answer::NotTaken(fault);
    }
    let parameters = if is_international { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
    if let Err(error) = connection.command(Mail::new(Some(from.clone()), parameters)) {
        let remedy = "let from of <mail> be an address that the server lets you send as";
        return Answer::NotTaken(fault(Stage::From, Scope::All, &error, remedy));
    }
    if let Err(error) = connection.command(Rcpt::new(to.clone(), Vec::new())) {
        if is_about_sender(&error) {
            let remedy = "let the server take mail from this host, or give username and password in <mail>";
            return Answer::NotTaken(fault(Stage::Recipient, Scope::Message, &error, remedy));
        }
        return not_taken(Stage::Recipient, &error, "check the receiver's address in config.xml");
    }
    if let Err(error) = connection.command(Data) {
        return not_taken(Stage::Data, &error, "see the mail server's log");
    }
    let _ = connection.set_timeout(Some(patience.content));
    // The library ends the text by CRLF, a dot and CRLF; its own last CRLF would be one more.
    let answer = connection.message(bytes.strip_suffix(b"\r\n").unwrap_or(bytes));
    let _ = connection.set_timeout(Some(patience.command));
    match answer {
        Ok(response) => {
            let said: Vec<&str> = response.message().collect();
            Answer::Accepted { said: escape(&format!("{} {}", response.code(), said.join(" "))) }
        }
        Err(error) if error.is_permanent() => {
            Answer::Refused(fault(Stage::Content, Scope::Message, &error, "see the mail server's log"))
        }
        Err(error) => {
            Answer::InDoubt(fault(Stage::Content, scope(&error), &error, "see the mail server's log"))
        }
    }
}

/// A failure after MAIL FROM and before the message.
fn not_taken(stage: Stage, error: &Error, remedy: &'static str) -> Answer {
    let fault = fault(stage, scope(error), error, remedy);
    match fault.scope {
        Scope::Message if error.is_permanent() => Answer::Refused(fault),
        _ => Answer::NotTaken(fault),
    }
}

/// Whether an answer to RCPT TO refuses us and not the recipient: security or policy (RFC 3463: X.7.X), or, of servers
/// without such codes, that they do not relay. All receivers' news would be given up for a fault that is mended here.
fn is_about_sender(error: &Error) -> bool {
    let said =
        std::error::Error::source(error).map(|said| said.to_string().to_lowercase()).unwrap_or_default();
    said.starts_with("5.7.") || said.contains("relay")
}

/// Whether an error is about more than one message. A server that does not answer in time will not answer the next
/// one either, and codes of the session (RFC 4954: 530, 535, 538; RFC 5321: 503) say nothing of the recipient.
fn scope(error: &Error) -> Scope {
    let code = error.status().map(|code| code.to_string());
    match code.as_deref() {
        Some("503" | "530" | "535" | "538") => Scope::All,
        _ if is_timeout(error) => Scope::All,
        _ => Scope::Message,
    }
}

fn is_timeout(error: &Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(error.kind(), TimedOut | WouldBlock);
        }
        source = error.source();
    }
    false
}

fn fault(stage: Stage, scope: Scope, error: &Error, remedy: &'static str) -> Fault {
    let text = error.to_string();
    let (stage, remedy) = if text.contains("certificate") {
        let remedy = "let host of <mail> be the name in the server's certificate, and ca-file the authority that signed it";
        (Stage::Tls, remedy)
    } else if is_timeout(error) {
        (stage, "the server did not answer in time; the next run tries again")
    } else {
        (stage, remedy)
    };
    Fault { stage, scope, detail: escape(&text), remedy }
}

fn local(stage: Stage, detail: &str, remedy: &'static str) -> Fault {
    Fault { stage, scope: Scope::All, detail: escape(detail), remedy }
}
