//! Proving who we are, to a server whose host key is verified: keys, agent, password; each once.

use libssh2_sys as raw;
use model::text::escape;
use model::{Outcome, Phase};
use ssh2::Session;

use super::Link;
use super::ssh::{Verified, code};
use crate::found::Found;
use crate::job::Credentials;

/// The most keys of an agent that are offered; sshd's MaxAuthTries is 6.
const MAX_AGENT_KEYS: usize = 5;

/// What was tried in vain.
#[derive(Default)]
struct Tried {
    /// What the server refused.
    refused: Vec<String>,
    /// What could not even be sent.
    unusable: Vec<String>,
    /// What the server took.
    passed: String,
}

/// Logs in, or says what was tried and what the server would take.
pub(super) fn login(
    server: &Verified,
    username: &str,
    credentials: &Credentials,
    link: &mut Link,
) -> Result<(), Outcome> {
    link.enter(Phase::Auth);
    let mut tried = Tried::default();
    try_all(server.session(), username, credentials, &mut tried)?;
    link.found(Found::Login { by: tried.passed });
    Ok(())
}

fn try_all(
    session: &Session,
    username: &str,
    credentials: &Credentials,
    tried: &mut Tried,
) -> Result<(), Outcome> {
    for key in &credentials.keys {
        let passphrase = key.passphrase.as_ref().map(|passphrase| passphrase.0.reveal());
        let result = session.userauth_pubkey_memory(username, None, key.pem.0.reveal(), passphrase);
        if tried.passed(&format!("key {}", key.file), result)? {
            return Ok(());
        }
    }
    if credentials.agent.is_some() && by_agent(session, username, tried)? {
        return Ok(());
    }
    if let Some(password) = &credentials.password {
        let result = session.userauth_password(username, password.0.reveal());
        if tried.passed("password", result)? {
            return Ok(());
        }
    }
    Err(tried.refusal(session, username))
}

fn by_agent(session: &Session, username: &str, tried: &mut Tried) -> Result<bool, Outcome> {
    let opened = session.agent().and_then(|mut agent| {
        agent.connect()?;
        agent.list_identities()?;
        let keys = agent.identities()?;
        Ok((agent, keys))
    });
    let (agent, keys) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            tried.unusable.push(format!("agent: {}", error.message()));
            return Ok(false);
        }
    };
    if keys.is_empty() {
        tried.unusable.push("agent: it holds no key (ssh-add)".to_owned());
    }
    for key in keys.iter().take(MAX_AGENT_KEYS) {
        if tried.passed(&format!("agent's key {}", escape(key.comment())), agent.userauth(username, key))? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Tried {
    /// Whether that was it. A server that hangs up instead of answering has refused too.
    fn passed(&mut self, what: &str, result: Result<(), ssh2::Error>) -> Result<bool, Outcome> {
        let Err(error) = result else {
            what.clone_into(&mut self.passed);
            return Ok(true);
        };
        match code(&error) {
            raw::LIBSSH2_ERROR_AUTHENTICATION_FAILED | raw::LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED => {
                self.refused.push(what.to_owned());
            }
            raw::LIBSSH2_ERROR_PASSWORD_EXPIRED => self.refused.push(format!("{what} (it has expired)")),
            raw::LIBSSH2_ERROR_SOCKET_DISCONNECT
            | raw::LIBSSH2_ERROR_SOCKET_RECV
            | raw::LIBSSH2_ERROR_SOCKET_SEND => {
                self.refused.push(what.to_owned());
                let detail =
                    format!("tried {}; the server then closed the connection", self.refused.join(", "));
                return Err(Outcome::AuthRefused { detail });
            }
            _ => self.unusable.push(format!("{what}: {}", escape(error.message()))),
        }
        Ok(false)
    }

    fn refusal(&self, session: &Session, username: &str) -> Outcome {
        if self.refused.is_empty() && !self.unusable.is_empty() {
            return Outcome::Credential { detail: self.unusable.join("; ") };
        }
        let takes = session.auth_methods(username).map_or_else(|_| "nothing it tells".to_owned(), escape);
        let mut detail = match &self.refused[..] {
            [] => "nothing was tried".to_owned(),
            refused => format!("tried {}", refused.join(", ")),
        };
        if !self.unusable.is_empty() {
            detail = format!("{detail}; not usable: {}", self.unusable.join(", "));
        }
        Outcome::AuthRefused { detail: format!("{detail}; the server takes {takes}") }
    }
}
