-- With 0001_initial.sql, where the engine has native partitions: reports and attempts by day. What no day's partition
-- takes goes to the default one, so that nothing is ever refused. No foreign keys: dropping a partition would have to
-- wait for whoever uses the other table.

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
) PARTITION BY RANGE (event_time);

CREATE INDEX report_by_client ON report (client_id, event_time);
-- In this order, so that a record is found under every spool of its client after a roll-back.
CREATE INDEX report_by_sequence ON report (client_id, sequence);

CREATE TABLE report_default PARTITION OF report DEFAULT;

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
) PARTITION BY RANGE (at);

CREATE INDEX collection_by_client ON collection (client_id, at);

CREATE TABLE collection_default PARTITION OF collection DEFAULT;
