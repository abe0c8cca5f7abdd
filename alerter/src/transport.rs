//! Ways out for messages, and what an attempt to use one can end in.

pub mod directory;
pub mod sendmail;
pub mod smtp;

use std::fmt;

/// A way out for messages.
pub trait Transport {
    /// Hands one message to one receiver.
    fn deliver(&mut self, message: &storage::Message) -> Answer;

    /// Where messages go, for people.
    fn name(&self) -> String;
}

/// What an attempt ended in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was accepted.
    Accepted {
        /// What the other side said.
        said: String,
    },
    /// It failed for certain before the message was handed over.
    NotTaken(Fault),
    /// The recipient or the content is refused for good.
    Refused(Fault),
    /// It may or may not have been accepted.
    InDoubt(Fault),
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where in the dialogue.
    pub stage: Stage,
    /// Whom it concerns.
    pub scope: Scope,
    /// What happened; escaped and bounded.
    pub detail: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.stage, self.detail)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, ": {}", self.remedy) }
    }
}

/// Whom a fault concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This message alone: others are tried.
    Message,
    /// All that would go the same way now.
    All,
}

/// A stage of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reaching the server, up to its answer to EHLO. With TLS from the first byte, the certificate too.
    Connect,
    /// STARTTLS and the server's certificate.
    Tls,
    /// AUTH.
    Login,
    /// MAIL FROM.
    From,
    /// RCPT TO.
    Recipient,
    /// DATA, before the message.
    Data,
    /// The message and the answer to it.
    Content,
    /// A program or a file of this machine.
    Local,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Tls => "TLS",
            Self::Login => "login",
            Self::From => "MAIL FROM",
            Self::Recipient => "RCPT TO",
            Self::Data => "DATA",
            Self::Content => "message",
            Self::Local => "local",
        })
    }
}
