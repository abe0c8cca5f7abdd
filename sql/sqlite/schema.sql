-- Schema 3, as the steps beside make it. UPDATE_SCHEMA=1 cargo test -p storage writes it.

CREATE TABLE acknowledgement (
    episode_id TEXT NOT NULL REFERENCES episode (episode_id),
    begin INTEGER NOT NULL,
    -- Without: it ends with the episode.
    until INTEGER,
    why TEXT NOT NULL,
    PRIMARY KEY (episode_id, begin)
) STRICT, WITHOUT ROWID;

CREATE TABLE alert (
    client_id INTEGER NOT NULL REFERENCES client (client_id),
    rule TEXT NOT NULL,
    labels TEXT NOT NULL,
    firing INTEGER NOT NULL CHECK (firing IN (0, 1)),
    -- As CBOR.
    state BLOB NOT NULL, form INTEGER NOT NULL DEFAULT 1 CHECK (form IN (1, 2)),
    PRIMARY KEY (client_id, rule, labels)
) STRICT, WITHOUT ROWID;

CREATE INDEX alert_firing ON alert (client_id) WHERE firing = 1;

CREATE TABLE backoff (
    receiver TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    next INTEGER NOT NULL,
    detail TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE client (
    client_id INTEGER PRIMARY KEY,
    uid BLOB NOT NULL UNIQUE CHECK (length(uid) = 16),
    name TEXT NOT NULL UNIQUE,
    -- The machine as its newest report describes it, as CBOR.
    host BLOB
) STRICT;

CREATE TABLE client_key (
    client_id INTEGER NOT NULL REFERENCES client (client_id),
    key_id INTEGER NOT NULL,
    public_key BLOB NOT NULL CHECK (length(public_key) = 32),
    sealed BLOB NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (client_id, key_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE collection (
    collection_id INTEGER PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES client (client_id),
    at INTEGER NOT NULL,
    -- As CBOR.
    outcome BLOB NOT NULL,
    seconds REAL NOT NULL,
    uploaded INTEGER NOT NULL CHECK (uploaded IN (0, 1)),
    -- How many of its records were new.
    stored INTEGER NOT NULL
, run INTEGER) STRICT;

CREATE TABLE episode (
    episode_id TEXT PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES client (client_id),
    rule TEXT NOT NULL,
    labels TEXT NOT NULL,
    client_name TEXT NOT NULL,
    metric TEXT NOT NULL,
    begin INTEGER NOT NULL,
    fired INTEGER NOT NULL,
    severity TEXT NOT NULL,
    first_value REAL NOT NULL,
    limit_value REAL NOT NULL,
    peak REAL NOT NULL,
    peak_at INTEGER NOT NULL,
    last_value REAL NOT NULL,
    last_at INTEGER NOT NULL,
    detail TEXT NOT NULL,
    -- As CBOR.
    evidence BLOB NOT NULL,
    end_at INTEGER,
    end_why TEXT, held TEXT NOT NULL DEFAULT '',
    CHECK ((end_at IS NULL) = (end_why IS NULL))
) STRICT;

CREATE INDEX episode_ended ON episode (end_at) WHERE end_at IS NOT NULL;

CREATE INDEX episode_open ON episode (begin) WHERE end_at IS NULL;

CREATE TABLE fact (
    fact_id INTEGER PRIMARY KEY,
    episode_id TEXT NOT NULL REFERENCES episode (episode_id),
    receiver TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    reason TEXT NOT NULL,
    severity TEXT NOT NULL,
    at INTEGER NOT NULL,
    told INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1)),
    message_id INTEGER REFERENCES message (message_id), after INTEGER NOT NULL DEFAULT 0,
    UNIQUE (episode_id, receiver, ordinal)
) STRICT;

CREATE INDEX fact_of_message ON fact (message_id) WHERE message_id IS NOT NULL;

CREATE INDEX fact_untold ON fact (fact_id) WHERE told = 0 AND message_id IS NULL;

CREATE TABLE latest (
    client_id INTEGER PRIMARY KEY REFERENCES client (client_id),
    -- The spool that the client sent last.
    spool_id INTEGER REFERENCES spool (spool_id),
    -- Of the newest record of any kind.
    event_time INTEGER,
    report_id INTEGER REFERENCES report (report_id),
    report_time INTEGER,
    collection_id INTEGER REFERENCES collection (collection_id),
    collection_at INTEGER,
    -- The newest attempt that collected.
    contact INTEGER,
    -- Whether the newest attempt that reached its turn failed, and when that was.
    failed INTEGER NOT NULL CHECK (failed IN (0, 1)),
    judged INTEGER
) STRICT;

CREATE TABLE memory (
    client_id INTEGER PRIMARY KEY REFERENCES client (client_id),
    -- The first attempt.
    since INTEGER,
    -- The newest report that was evaluated.
    reported INTEGER,
    booted INTEGER,
    reached INTEGER CHECK (reached IN (0, 1))
) STRICT;

CREATE TABLE message (
    message_id INTEGER PRIMARY KEY,
    -- Its Message-ID.
    id TEXT NOT NULL UNIQUE,
    receiver TEXT NOT NULL,
    subject TEXT NOT NULL,
    created INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('waiting', 'in-doubt', 'sent', 'permanent')),
    detail TEXT NOT NULL,
    noted INTEGER
) STRICT;

CREATE INDEX message_by_time ON message (created);

CREATE INDEX message_unsent ON message (created) WHERE status <> 'sent';

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
    quarantine_id INTEGER PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES client (client_id),
    spool_id INTEGER NOT NULL REFERENCES spool (spool_id),
    sequence INTEGER NOT NULL,
    digest INTEGER NOT NULL,
    event_time INTEGER NOT NULL,
    receipt INTEGER NOT NULL,
    reason TEXT NOT NULL,
    envelope BLOB NOT NULL,
    UNIQUE (client_id, sequence, spool_id)
) STRICT;

CREATE TABLE report (
    report_id INTEGER PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES client (client_id),
    spool_id INTEGER NOT NULL REFERENCES spool (spool_id),
    sequence INTEGER NOT NULL,
    -- The first eight bytes of the envelope's SHA-256.
    digest INTEGER NOT NULL,
    event_time INTEGER NOT NULL,
    receipt INTEGER NOT NULL,
    payload BLOB NOT NULL,
    -- In this order, so that a record is found under every spool of its client after a roll-back.
    UNIQUE (client_id, sequence, spool_id)
) STRICT;

CREATE INDEX report_by_time ON report (client_id, event_time);

CREATE TABLE run (
    program TEXT NOT NULL,
    begin INTEGER NOT NULL,
    finish INTEGER,
    done INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    whole INTEGER NOT NULL CHECK (whole IN (0, 1)), host TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (program, begin)
) STRICT, WITHOUT ROWID;

CREATE TABLE series (
    series_id INTEGER PRIMARY KEY,
    metric TEXT NOT NULL,
    label TEXT NOT NULL,
    UNIQUE (metric, label)
) STRICT;

CREATE TABLE silence (
    silence_id INTEGER PRIMARY KEY,
    -- A client's name, or @group.
    target TEXT NOT NULL,
    -- The type that it is about; without: all.
    metric TEXT,
    begin INTEGER NOT NULL,
    until INTEGER NOT NULL,
    why TEXT NOT NULL
) STRICT;

CREATE INDEX silence_until ON silence (until);

CREATE TABLE spool (
    spool_id INTEGER PRIMARY KEY,
    client_id INTEGER NOT NULL REFERENCES client (client_id),
    spool BLOB NOT NULL CHECK (length(spool) = 16),
    stored_through INTEGER NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    last_event_time INTEGER NOT NULL,
    UNIQUE (client_id, spool)
) STRICT;

CREATE TABLE unevaluated (
    event_time INTEGER NOT NULL,
    report_id INTEGER NOT NULL,
    PRIMARY KEY (event_time, report_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE unevaluated_attempt (
    run INTEGER NOT NULL,
    at INTEGER NOT NULL,
    collection_id INTEGER NOT NULL,
    PRIMARY KEY (run, at, collection_id)
) STRICT, WITHOUT ROWID;
