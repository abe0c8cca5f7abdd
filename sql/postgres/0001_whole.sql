-- With 0001_initial.sql, where the engine has no native partitions (CockroachDB): the same tables, whole.

CREATE TABLE report (
    report_id bigint NOT NULL,
    client_id bigint NOT NULL,
    spool_id bigint NOT NULL,
    sequence bigint NOT NULL,
    -- The first eight bytes of the envelope's SHA-256.
    digest bigint NOT NULL,
    event_time bigint NOT NULL,
    receipt bigint NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (event_time, report_id)
);

CREATE INDEX report_by_client ON report (client_id, event_time);
-- In this order, so that a record is found under every spool of its client after a roll-back.
CREATE INDEX report_by_sequence ON report (client_id, sequence);

CREATE TABLE collection (
    collection_id bigint NOT NULL,
    client_id bigint NOT NULL,
    at bigint NOT NULL,
    -- As CBOR.
    outcome bytea NOT NULL,
    seconds double precision NOT NULL,
    uploaded boolean NOT NULL,
    -- How many of its records were new.
    stored bigint NOT NULL,
    -- The begin of the collector's run.
    run bigint NOT NULL,
    PRIMARY KEY (at, collection_id)
);

CREATE INDEX collection_by_client ON collection (client_id, at);

