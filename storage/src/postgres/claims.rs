//! Which run has hold of which client.

use std::collections::HashMap;
use std::time::Duration;

use model::ClientUid;

use super::clients;
use super::fault::{Fault, corrupt};
use super::link::Tx;
use super::run_log::{Held, bury, clock, millis};
use super::values::params;
use crate::{Claimed, ClientRow};

/// Takes those of `wanted` that are free and due, in that order, at most `limit`.
pub(super) fn claim(
    tx: &mut Tx<'_>,
    run: &Held,
    wanted: &[ClientUid],
    rest: Duration,
    limit: usize,
) -> Result<Claimed, Fault> {
    bury(tx)?;
    let uids: Vec<&[u8]> = wanted.iter().map(|uid| &uid.0[..]).collect();
    // A turn that is still to come was noted by a clock that was ahead: a server that is not there any more, perhaps.
    let (rested, now) = (run.began.saturating_sub(millis(rest)), clock(tx)?);
    // A row may change between being found and being locked; then it is looked at again, alone. So it counts as free only
    // where the run that it names is known to be over: a run that this statement does not see yet goes on.
    let free = tx.rows(
        "SELECT claim.client_id
         FROM unnest($1) WITH ORDINALITY AS wanted (uid, place)
              JOIN client ON client.uid = wanted.uid JOIN claim ON claim.client_id = client.client_id
         WHERE (claim.turn IS NULL OR claim.turn < $2 OR claim.turn > $4)
               AND (claim.run_id IS NULL OR EXISTS (
                   SELECT 1 FROM run WHERE run.run_id = claim.run_id AND (run.over OR run.finish IS NOT NULL)))
         ORDER BY wanted.place LIMIT $3 FOR UPDATE OF claim SKIP LOCKED",
        params![uids, rested, i64::try_from(limit).unwrap_or(i64::MAX), now],
    )?;
    let free: Vec<i64> = free.iter().map(|row| row.get(0)).collect::<Result<_, _>>()?;
    tx.execute("UPDATE claim SET run_id = $1 WHERE client_id = ANY($2)", params![run.run_id, free])?;
    let done = tx.rows(
        "SELECT client.uid FROM client JOIN claim ON claim.client_id = client.client_id
         WHERE client.uid = ANY($1) AND claim.turn BETWEEN $2 AND $3",
        params![uids, rested, now],
    )?;
    let done = done.iter().map(|row| Ok(ClientUid(row.bytes(0)?))).collect::<Result<_, Fault>>()?;
    let mut rows: HashMap<ClientUid, ClientRow> =
        clients::numbered(tx, &free)?.into_iter().map(|row| (row.uid, row)).collect();
    let taken: Vec<ClientRow> = wanted.iter().filter_map(|uid| rows.remove(uid)).collect();
    if taken.len() != free.len() {
        return Err(corrupt("a client is gone while it is claimed"));
    }
    Ok(Claimed { taken, done })
}
