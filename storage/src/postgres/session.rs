//! One connection, and a limit to how long the server may take to answer. The driver has none of its own: a server that is
//! frozen, or a pooler that is stuck, still acknowledges what arrives, so that nothing would ever end the wait.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::{Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::{Fault, refused, silent};
use super::values::Param;

/// A connection. It ends where it is dropped, whatever the server does.
pub(super) struct Session {
    client: Client,
    runtime: Runtime,
    answer: Duration,
}

impl Session {
    /// Logs in; every answer has to come within `answer`.
    pub(super) fn begin(config: &Config, tls: MakeRustlsConnect, answer: Duration) -> Result<Self, Fault> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| refused(format!("no connection can be made: {error}")))?;
        let client = within(&runtime, answer, async {
            let (client, connection) = config.connect(tls).await?;
            tokio::spawn(connection);
            Ok(client)
        })?;
        Ok(Self { client, runtime, answer })
    }

    /// Runs a statement; gives how many rows it changed.
    pub(super) fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Fault> {
        within(&self.runtime, self.answer, self.client.execute_typed(sql, params))
    }

    /// The rows that a statement gives.
    pub(super) fn rows(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        within(&self.runtime, self.answer, self.client.query_typed(sql, params))
    }

    /// Runs statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> Result<(), Fault> {
        within(&self.runtime, self.answer, self.client.batch_execute(sql))
    }
}

/// What `work` gives, if it does so in time.
fn within<T>(
    runtime: &Runtime,
    answer: Duration,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Fault> {
    match runtime.block_on(async { timeout(answer, work).await }) {
        Ok(result) => Ok(result?),
        Err(_) => Err(silent(answer)),
    }
}
