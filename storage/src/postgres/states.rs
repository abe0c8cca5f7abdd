//! What the alerter remembers of alerts and of clients.

use std::collections::{BTreeMap, HashMap};

use model::wire::to_cbor;
use model::{AlertKey, AlertState, ClientMemory, ClientUid, RuleId, Timestamp};

use super::fault::{Fault, corrupt, refused};
use super::link::Tx;
use super::values::{Param, Row, params};
use crate::{Step, words};

/// The rows of clients by their uids.
pub(super) type Subjects = HashMap<ClientUid, i64>;

/// The rows of all clients that a step is about, the fleet as a whole among them. One that is not there is refused.
pub(super) fn subjects(tx: &mut Tx<'_>, step: &Step) -> Result<Subjects, Fault> {
    let of_states = step.states.iter().map(|(key, _)| key.client);
    let of_episodes = step.episodes.iter().map(|episode| episode.key.client);
    let mut uids: Vec<ClientUid> =
        of_states.chain(of_episodes).chain(step.memories.iter().map(|(uid, _)| *uid)).collect();
    uids.sort_unstable();
    uids.dedup();
    if uids.is_empty() {
        return Ok(Subjects::new());
    }
    let rows = tx.rows("SELECT uid, client_id FROM client WHERE uid = ANY ($1)", params![bytes(&uids)])?;
    let found = rows.iter().map(|row| Ok((ClientUid(row.bytes(0)?), row.get(1)?)));
    let found = found.collect::<Result<Subjects, Fault>>()?;
    match uids.iter().find(|uid| !found.contains_key(uid)) {
        Some(uid) => Err(refused(format!("there is no client {uid}"))),
        None => Ok(found),
    }
}

/// The row of one that [`subjects`] found.
pub(super) fn subject(subjects: &Subjects, uid: ClientUid) -> Result<i64, Fault> {
    subjects.get(&uid).copied().ok_or_else(|| refused(format!("there is no client {uid}")))
}

fn bytes(uids: &[ClientUid]) -> Vec<&[u8]> {
    uids.iter().map(|uid| &uid.0[..]).collect()
}

/// The alerts of these clients, by their keys.
pub(super) fn of_clients(
    tx: &mut Tx<'_>,
    clients: &[ClientUid],
) -> Result<Vec<(AlertKey, AlertState)>, Fault> {
    select(tx, "uid = ANY ($1)", params![bytes(clients)])
}

/// The alerts that fire, by their keys.
pub(super) fn firing(tx: &mut Tx<'_>) -> Result<Vec<(AlertKey, AlertState)>, Fault> {
    select(tx, "firing", &[])
}

fn select(
    tx: &mut Tx<'_>,
    condition: &str,
    params: &[Param<'_>],
) -> Result<Vec<(AlertKey, AlertState)>, Fault> {
    let sql = format!(
        "SELECT uid, rule, labels, state, form FROM alert JOIN client USING (client_id) WHERE {condition}"
    );
    let read = |row: Row| {
        let labels = row.get::<&str>(2)?.parse().map_err(|fault: String| corrupt(fault))?;
        let key = AlertKey { client: ClientUid(row.bytes(0)?), rule: RuleId(row.get(1)?), labels };
        Ok((key, words::state(row.get(3)?, row.get::<i64>(4)? as i32).map_err(corrupt)?))
    };
    let mut states = tx.rows(&sql, params)?.into_iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
    states.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(states)
}

/// Writes states over what was there; those that are idle go. Of several of one alert the last counts.
pub(super) fn put(
    tx: &mut Tx<'_>,
    subjects: &Subjects,
    states: &[(AlertKey, AlertState)],
) -> Result<(), Fault> {
    let states: BTreeMap<&AlertKey, &AlertState> = states.iter().map(|(key, state)| (key, state)).collect();
    let (idle, kept): (Vec<_>, Vec<_>) = states.into_iter().partition(|(_, state)| state.is_idle());
    if !idle.is_empty() {
        let (clients, rules, labels) = columns(subjects, &idle)?;
        tx.execute(
            "DELETE FROM alert WHERE (client_id, rule, labels) IN (
                 SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[]))",
            params![clients, rules, labels],
        )?;
    }
    if !kept.is_empty() {
        let (clients, rules, labels) = columns(subjects, &kept)?;
        let firing: Vec<bool> = kept.iter().map(|(_, state)| state.firing().is_some()).collect();
        let blobs: Vec<Vec<u8>> = kept.iter().map(|(_, state)| to_cbor(*state)).collect();
        tx.execute(
            "INSERT INTO alert (client_id, rule, labels, firing, state, form)
             SELECT given.client_id, given.rule, given.labels, given.firing, given.state, $6
             FROM unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[], $5::bytea[])
                  AS given (client_id, rule, labels, firing, state)
             ON CONFLICT (client_id, rule, labels) DO UPDATE SET
                 firing = excluded.firing, state = excluded.state, form = excluded.form",
            params![clients, rules, labels, firing, blobs, i64::from(words::STATE_FORM)],
        )?;
    }
    Ok(())
}

/// The columns of the keys.
type Keys<'a> = (Vec<i64>, Vec<&'a str>, Vec<String>);

fn columns<'a>(subjects: &Subjects, states: &[(&'a AlertKey, &'a AlertState)]) -> Result<Keys<'a>, Fault> {
    let keys = || states.iter().map(|(key, _)| *key);
    let clients = keys().map(|key| subject(subjects, key.client)).collect::<Result<_, _>>()?;
    let rules = keys().map(|key| key.rule.0.as_str()).collect();
    Ok((clients, rules, keys().map(|key| key.labels.to_string()).collect()))
}

/// What is remembered of these clients, by their uids.
pub(super) fn memories(
    tx: &mut Tx<'_>,
    clients: &[ClientUid],
) -> Result<Vec<(ClientUid, ClientMemory)>, Fault> {
    let rows = tx.rows(
        "SELECT uid, since, reported, booted, reached FROM memory JOIN client USING (client_id)
         WHERE uid = ANY ($1)",
        params![bytes(clients)],
    )?;
    let read = |row: Row| {
        let time = |index| Ok::<_, Fault>(row.get::<Option<i64>>(index)?.map(Timestamp));
        let memory =
            ClientMemory { since: time(1)?, reported: time(2)?, booted: time(3)?, reached: row.get(4)? };
        Ok((ClientUid(row.bytes(0)?), memory))
    };
    let mut memories = rows.into_iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
    memories.sort_unstable_by_key(|(uid, _)| *uid);
    Ok(memories)
}

/// Writes memories over what was there. Of several of one client the last counts.
pub(super) fn put_memories(
    tx: &mut Tx<'_>,
    subjects: &Subjects,
    memories: &[(ClientUid, ClientMemory)],
) -> Result<(), Fault> {
    if memories.is_empty() {
        return Ok(());
    }
    let memories: BTreeMap<ClientUid, &ClientMemory> =
        memories.iter().map(|(uid, memory)| (*uid, memory)).collect();
    let clients: Vec<i64> = memories.keys().map(|uid| subject(subjects, *uid)).collect::<Result<_, _>>()?;
    let times = |of: fn(&ClientMemory) -> Option<Timestamp>| -> Vec<Option<i64>> {
        memories.values().map(|memory| of(memory).map(Timestamp::millis)).collect()
    };
    let reached: Vec<Option<bool>> = memories.values().map(|memory| memory.reached).collect();
    tx.execute(
        "INSERT INTO memory (client_id, since, reported, booted, reached)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::boolean[])
         ON CONFLICT (client_id) DO UPDATE SET
             since = excluded.since, reported = excluded.reported, booted = excluded.booted,
             reached = excluded.reached",
        params![
            clients,
            times(|memory| memory.since),
            times(|memory| memory.reported),
            times(|memory| memory.booted),
            reached
        ],
    )?;
    Ok(())
}
