//! Proving who we are, to a server whose host key is verified: keys, agent, password; each once.

use libssh2_sys as raw;
use model::text::escape;
use model::{Outcome, Phase};
use ssh2::Session;

use super::Link;
use super::prompts::Prompts;
use super::ssh::{Verified, code};
use crate::found::Found;
use crate::job::{Credentials, PublicHalf};

/// The most keys of an agent that are offered; sshd's MaxAuthTries is 6.
const MAX_AGENT_KEYS: usize = 5;

/// The method of questions and answers (RFC 4256).
const INTERACTIVE: &str = "keyboard-interactive";

/// What was tried in vain.
#[derive(Default)]
struct Tried {
    /// What the server refused.
    refused: Vec<String>,
    /// What could not even be sent.
    unusable: Vec<String>,
    /// How many keys of an agent were left out.
    not_offered: usize,
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
    if credentials.agent.is_some() && by_agent(session, username, &credentials.agent_keys, tried)? {
        return Ok(());
    }
    if let Some(password) = &credentials.password
        && by_password(session, username, password.0.reveal(), tried)?
    {
        return Ok(());
    }
    Err(tried.refusal(session, username))
}

/// By the method `password`, or where the server has none, by keyboard-interactive: a server judges it once. What the
/// server takes is asked first only where keys were refused before; asking costs a round trip.
fn by_password(
    session: &Session,
    username: &str,
    password: &str,
    tried: &mut Tried,
) -> Result<bool, Outcome> {
    let before = if tried.refused.is_empty() { None } else { Some(methods(session, username)) };
    if session.authenticated() {
        return Ok(true);
    }
    let has = |methods: &str, method| methods.split(',').any(|name| name == method);
    if before.as_ref().is_none_or(|methods| has(methods, "password") || !has(methods, INTERACTIVE)) {
        let result = session.userauth_password(username, password);
        if tried.passed("password", result)? {
            return Ok(true);
        }
        let after = methods(session, username);
        if before.is_some() || has(&after, "password") || !has(&after, INTERACTIVE) {
            return Ok(false);
        }
        // That method is not there: the server refused it without a look at the password.
        tried.refused.pop();
    }
    let mut prompts = Prompts::new(password);
    let result = session.userauth_keyboard_interactive(username, &mut prompts);
    let what = match &prompts.unanswered {
        None => "password (keyboard-interactive)".to_owned(),
        Some(question) => format!(
            "keyboard-interactive (it asks \"{question}\", which nobody is there to answer: use a key, and let \
             the server ask this user for nothing else)"
        ),
    };
    tried.passed(&what, result)
}

/// What the server takes from this user now: after a login by one of several methods, the rest (RFC 4252, 5.1).
fn methods(session: &Session, username: &str) -> String {
    session.auth_methods(username).unwrap_or_default().to_owned()
}

/// By the keys that an agent holds: all, or those that are `named`, in that order.
fn by_agent(
    session: &Session,
    username: &str,
    named: &[PublicHalf],
    tried: &mut Tried,
) -> Result<bool, Outcome> {
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
    let mut wanted = Vec::new();
    for half in named {
        match keys.iter().find(|key| key.blob() == half.blob) {
            Some(key) => wanted.push(key),
            None => tried.unusable.push(format!("{}: the agent does not hold this key (ssh-add)", half.file)),
        }
    }
    if named.is_empty() {
        wanted.extend(keys.iter().take(MAX_AGENT_KEYS));
        tried.not_offered = keys.len().saturating_sub(MAX_AGENT_KEYS);
    }
    for key in wanted {
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
                return Err(self.hung_up());
            }
            _ => self.unusable.push(format!("{what}: {}", escape(error.message()))),
        }
        Ok(false)
    }

    /// How it ends with a server that closes the connection.
    fn hung_up(&self) -> Outcome {
        let tried = self.refused.join(", ");
        let many = match self.refused.len() {
            0 | 1 => "",
            _ => " (MaxAuthTries there? name the one key that it takes as identity-file)",
        };
        Outcome::AuthRefused { detail: format!("tried {tried}; the server then closed the connection{many}") }
    }

    fn refusal(&self, session: &Session, username: &str) -> Outcome {
        if self.refused.is_empty() && !self.unusable.is_empty() {
            return Outcome::Credential { detail: self.unusable.join("; ") };
        }
        let takes = match session.auth_methods(username) {
            Ok(takes) => escape(takes),
            Err(_) => return self.hung_up(),
        };
        let mut detail = match &self.refused[..] {
            [] => "nothing was tried".to_owned(),
            refused => format!("tried {}", refused.join(", ")),
        };
        if !self.unusable.is_empty() {
            detail = format!("{detail}; not usable: {}", self.unusable.join(", "));
        }
        if self.not_offered > 0 {
            let more = self.not_offered;
            detail = format!(
                "{detail}; {more} more keys of the agent were not offered: name the one as identity-file=FILE.pub"
            );
        }
        Outcome::AuthRefused { detail: format!("{detail}; the server takes {takes}") }
    }
}
