-- What each program's role may do, and nothing else; `fleet-collector maintain-storage` runs it where roles.sql made the roles.
--
-- Nobody but the owner makes, alters or drops anything. The collector reads no messages, nor who is told what. The alerter
-- reads no keys. CockroachDB has no privileges on columns: there leave the lists of columns out.

REVOKE ALL ON meta, counter, program, run, client, client_key, claim, spool, series, latest, report, collection,
    unevaluated, unevaluated_attempt, quarantine, alert, memory, episode, acknowledgement, message, fact, silence, backoff
    FROM fleet_collector, fleet_alerter;
REVOKE ALL ON SEQUENCE report_number, collection_number FROM fleet_collector, fleet_alerter;

-- Runs and their leases are both programs'.
GRANT SELECT ON meta, counter, program, run TO fleet_collector, fleet_alerter;
GRANT UPDATE (begun) ON program TO fleet_collector, fleet_alerter;
GRANT INSERT ON run TO fleet_collector, fleet_alerter;
GRANT UPDATE (finish, done, failed, whole, until, over, step) ON run TO fleet_collector, fleet_alerter;

-- The collector: clients, their keys, what they reported.
GRANT SELECT, INSERT, DELETE ON client, client_key, claim, spool, latest, report, collection, quarantine, unevaluated,
    unevaluated_attempt TO fleet_collector;
GRANT SELECT, INSERT ON series TO fleet_collector;
GRANT UPDATE (name, host) ON client TO fleet_collector;
GRANT UPDATE (run_id, turn) ON claim TO fleet_collector;
GRANT UPDATE (stored_through, digest, last_event_time) ON spool TO fleet_collector;
GRANT UPDATE ON latest TO fleet_collector;
GRANT UPDATE (value) ON counter TO fleet_collector;
GRANT USAGE ON SEQUENCE report_number, collection_number TO fleet_collector;

-- A client that is renamed or purged takes along what the alerter keeps of it.
GRANT DELETE ON alert, memory, episode, acknowledgement, fact, silence TO fleet_collector;
GRANT SELECT (client_id) ON alert, memory TO fleet_collector;
GRANT SELECT (client_id, episode_id) ON episode TO fleet_collector;
GRANT SELECT (episode_id) ON acknowledgement, fact TO fleet_collector;
GRANT SELECT (target) ON silence TO fleet_collector;
GRANT UPDATE (client_name) ON episode TO fleet_collector;
GRANT UPDATE (target) ON silence TO fleet_collector;

-- The alerter: what was reported, and what it makes of it.
GRANT SELECT ON client, series, latest, report, collection TO fleet_alerter;
GRANT SELECT, DELETE ON unevaluated, unevaluated_attempt TO fleet_alerter;
GRANT SELECT, INSERT, UPDATE, DELETE ON alert, memory, backoff, message TO fleet_alerter;
GRANT SELECT, INSERT, UPDATE ON episode, acknowledgement, fact, silence TO fleet_alerter;
