//! The connection, and transactions over it that are tried again.

use std::thread;
use std::time::{Duration, Instant};

use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{Fault, Kind, refused};
use super::session::Session;
use super::values::{Param, Row};
use crate::StoreError;

/// How a transaction begins. What is set holds for it alone (`SET LOCAL`), since a pooler may give the next one another
/// connection. A transaction whose client is gone without a word must not keep its locks: the server ends it.
const LIMITS: &str = "; SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '10s'; \
                      SET LOCAL idle_in_transaction_session_timeout = '20s'";

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It reads one state of the database.
    Read,
    /// It writes.
    Write,
    /// It changes the schema. CockroachDB does that in no weaker isolation:
    /// <https://www.cockroachlabs.com/docs/v24.3/read-committed#known-limitations>.
    Schema,
}

impl Mode {
    fn begin(self) -> String {
        let begin = match self {
            Self::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::Write => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
            Self::Schema => "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
        };
        format!("{begin}{LIMITS}")
    }
}

/// A transaction that goes on.
pub(super) struct Tx<'a> {
    session: &'a Session,
    /// Whether a statement failed: the server takes no other then, and nothing may be committed.
    failed: bool,
}

impl Tx<'_> {
    /// Runs a statement; gives how many rows it changed.
    pub(super) fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, Fault> {
        let done = self.session.execute(sql, params);
        self.noted(done)
    }

    /// The rows that a statement gives.
    pub(super) fn rows(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let rows = self.session.rows(sql, params);
        Ok(self.noted(rows)?.into_iter().map(Row).collect())
    }

    /// The one row that a statement gives, if it gives one.
    pub(super) fn row(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, Fault> {
        Ok(self.rows(sql, params)?.into_iter().next())
    }

    /// Runs statements of the schema, without parameters.
    pub(super) fn batch(&mut self, sql: &str) -> Result<(), Fault> {
        let done = self.session.batch(sql);
        self.noted(done)
    }

    /// What `work` gives. Where a statement failed of which it does not say so, nothing may be committed either.
    fn checked<T>(&mut self, work: &mut dyn FnMut(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        match work(self) {
            Ok(_) if self.failed => Err(refused("a statement failed, and nobody said so")),
            result => result,
        }
    }

    fn noted<T>(&mut self, result: Result<T, Fault>) -> Result<T, Fault> {
        self.failed |= result.is_err();
        result
    }
}

/// What came of one try.
pub(super) enum Tried<T> {
    /// It is committed.
    Committed(T),
    /// The connection was lost in COMMIT: nobody said whether it happened.
    Unsure(T, Fault),
    /// It did not happen.
    Failed(Fault),
}

/// How one server is entered.
#[derive(Clone)]
pub(super) struct Door {
    /// What people call it.
    pub(super) name: String,
    pub(super) config: Config,
}

/// The way to the database: one connection, made anew where it is lost.
pub(super) struct Link {
    servers: Vec<Door>,
    tls: MakeRustlsConnect,
    patience: Duration,
    session: Option<Session>,
    /// How long an answer may take.
    answer: Duration,
    privacy: Privacy,
}

/// Whether what is written over a link becomes true for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Privacy {
    /// Each transaction is committed.
    None,
    /// All that is done stands in one transaction that is never committed; it is still to begin.
    ToBegin,
    /// It goes on.
    Begun,
}

/// How the transaction begins that is never committed. It may wait for a person who reads what is printed, but for less long
/// than others try again what its locks are in the way of.
const BEGIN_PRIVATE: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE; SET LOCAL statement_timeout = '60s'; \
                             SET LOCAL lock_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '15s'";

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The configuration holds the password.
        f.debug_struct("Link").field("connected", &self.session.is_some()).finish_non_exhaustive()
    }
}

impl Link {
    /// A way that is not gone yet. Answers have to come within `answer`; what fails is tried again for `patience` in all.
    pub(super) fn new(
        servers: Vec<Door>,
        tls: MakeRustlsConnect,
        patience: Duration,
        answer: Duration,
    ) -> Self {
        Self { servers, tls, patience, session: None, answer, privacy: Privacy::None }
    }

    /// Another connection to the same database, where answers have to come within `answer`.
    pub(super) fn another(&self, answer: Duration) -> Self {
        let mut servers = self.servers.clone();
        for server in &mut servers {
            server.config.connect_timeout(answer).tcp_user_timeout(answer);
        }
        Self::new(servers, self.tls.clone(), self.patience, answer)
    }

    /// From here on nothing is committed: what is done over this link is seen by it alone, and gone with it.
    pub(super) fn keep_private(&mut self) {
        self.privacy = Privacy::ToBegin;
    }

    /// Whether nothing is committed.
    pub(super) fn is_private(&self) -> bool {
        self.privacy != Privacy::None
    }

    /// How long what fails is tried again.
    pub(super) fn patience(&self) -> Patience {
        Patience { lasts: self.patience, until: None, pause: FIRST_PAUSE }
    }

    /// One try of a transaction.
    pub(super) fn once<T>(
        &mut self,
        mode: Mode,
        work: &mut dyn FnMut(&mut Tx<'_>) -> Result<T, Fault>,
    ) -> Tried<T> {
        let tried = self.tried(mode, work).unwrap_or_else(Tried::Failed);
        if let Tried::Failed(Fault { kind: Kind::Lost, .. }) | Tried::Unsure(..) = tried {
            self.session = None;
        }
        tried
    }

    fn tried<T>(
        &mut self,
        mode: Mode,
        work: &mut dyn FnMut(&mut Tx<'_>) -> Result<T, Fault>,
    ) -> Result<Tried<T>, Fault> {
        if self.is_private() {
            return self.tried_in_private(work).map_err(|fault| Fault { kind: Kind::Final, ..fault });
        }
        let session = match &mut self.session {
            Some(session) => &*session,
            none => none.insert(connect(&self.servers, &self.tls, self.answer)?),
        };
        session.batch(&mode.begin())?;
        let mut tx = Tx { session, failed: false };
        let value = match tx.checked(work) {
            Ok(value) => value,
            Err(fault) => {
                // What goes on after it must not stand in this transaction.
                if fault.kind != Kind::Lost && session.batch("ROLLBACK").is_err() {
                    self.session = None;
                }
                return Err(fault);
            }
        };
        match session.batch("COMMIT") {
            Ok(()) => Ok(Tried::Committed(value)),
            Err(fault) if fault.kind == Kind::Lost => Ok(Tried::Unsure(value, fault)),
            Err(fault) => Err(fault),
        }
    }

    /// One step of the transaction that is never committed: all of it stands in there, or nothing. Nothing is tried again,
    /// since a lost connection has lost all steps.
    fn tried_in_private<T>(
        &mut self,
        work: &mut dyn FnMut(&mut Tx<'_>) -> Result<T, Fault>,
    ) -> Result<Tried<T>, Fault> {
        if self.privacy == Privacy::ToBegin {
            let session = match &mut self.session {
                Some(session) => &*session,
                none => none.insert(connect(&self.servers, &self.tls, self.answer)?),
            };
            session.batch(BEGIN_PRIVATE)?;
            self.privacy = Privacy::Begun;
        }
        let Some(session) = &self.session else {
            return Err(
                StoreError::Unreachable("the connection was lost; nothing was changed".to_owned()).into()
            );
        };
        session.batch("SAVEPOINT step")?;
        let mut tx = Tx { session, failed: false };
        let result = tx.checked(work);
        if result.is_err() {
            session.batch("ROLLBACK TO SAVEPOINT step")?;
        }
        session.batch("RELEASE SAVEPOINT step")?;
        result.map(Tried::Committed)
    }

    /// A transaction that may be done again where nobody said whether it happened.
    pub(super) fn again<T>(
        &mut self,
        mode: Mode,
        mut work: impl FnMut(&mut Tx<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut patience = self.patience();
        loop {
            match self.once(mode, &mut work) {
                Tried::Committed(value) => return Ok(value),
                Tried::Unsure(_, fault) | Tried::Failed(fault) => patience.after(fault)?,
            }
        }
    }
}

/// A connection to the first server that takes writes. Of several that do not, the first whose fault may pass speaks for all:
/// one may be about to take over.
fn connect(servers: &[Door], tls: &MakeRustlsConnect, answer: Duration) -> Result<Session, Fault> {
    let mut told: Option<Fault> = None;
    for server in servers {
        let mut fault = match Session::begin(&server.config, tls.clone(), answer) {
            Ok(session) => return Ok(session),
            Err(fault) => fault,
        };
        if let StoreError::Unreachable(detail) = &mut fault.error {
            *detail = format!("{}: {detail}", server.name);
        }
        if told.as_ref().is_none_or(|before| before.kind == Kind::Final && fault.kind != Kind::Final) {
            told = Some(fault);
        }
    }
    Err(told.unwrap_or_else(|| refused("no server is named")))
}

/// The first pause before a transaction is tried again; each is twice the one before, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long one goes on trying.
#[derive(Debug)]
pub(super) struct Patience {
    lasts: Duration,
    /// From the first fault on: that a server is gone may take half a minute to be noticed.
    until: Option<Instant>,
    pause: Duration,
}

impl Patience {
    /// Waits a little after `fault`, or gives it back where trying again does not help or took too long.
    pub(super) fn after(&mut self, fault: Fault) -> Result<(), Fault> {
        let now = Instant::now();
        let over = now + self.pause > *self.until.get_or_insert(now + self.lasts);
        match fault.kind {
            Kind::Final => return Err(fault),
            Kind::Conflict if over => return Err(Fault { error: StoreError::Busy, ..fault }),
            Kind::Lost if over => return Err(fault),
            Kind::Conflict | Kind::Lost => {}
        }
        log::debug!("storage: a transaction is tried again: {}", fault.error);
        thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}
