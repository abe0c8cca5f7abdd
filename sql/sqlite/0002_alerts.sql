-- What alerts go by beside values: runs of the collector as a whole, silences, acknowledgements, and when people were
-- told of what.

-- The fleet as a whole, where an alert is about no client. No client is called that, and none has this uid.
INSERT INTO client (client_id, uid, name) VALUES (0, zeroblob(16), '');

-- When the collector's run began that it belongs to. Without: it counts as a run of its own.
ALTER TABLE collection ADD COLUMN run INTEGER;

-- In the place of unevaluated_collection: by the runs that they belong to.
CREATE TABLE unevaluated_attempt (
    run INTEGER NOT NULL,
    at INTEGER NOT NULL,
    collection_id INTEGER NOT NULL,
    PRIMARY KEY (run, at, collection_id)
) STRICT, WITHOUT ROWID;

INSERT INTO unevaluated_attempt (run, at, collection_id) SELECT at, at, collection_id FROM unevaluated_collection;

DROP TABLE unevaluated_collection;

-- 1: the state is as schema 1 wrote it.
ALTER TABLE alert ADD COLUMN form INTEGER NOT NULL DEFAULT 1 CHECK (form IN (1, 2));

ALTER TABLE fact ADD COLUMN after INTEGER NOT NULL DEFAULT 0;

ALTER TABLE episode ADD COLUMN held TEXT NOT NULL DEFAULT '';

CREATE INDEX episode_ended ON episode (end_at) WHERE end_at IS NOT NULL;

CREATE INDEX message_by_time ON message (created);

CREATE TABLE memory (
    client_id INTEGER PRIMARY KEY REFERENCES client (client_id),
    -- The first attempt.
    since INTEGER,
    -- The newest report that was evaluated.
    reported INTEGER,
    booted INTEGER,
    reached INTEGER CHECK (reached IN (0, 1))
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

CREATE TABLE acknowledgement (
    episode_id TEXT NOT NULL REFERENCES episode (episode_id),
    begin INTEGER NOT NULL,
    -- Without: it ends with the episode.
    until INTEGER,
    why TEXT NOT NULL,
    PRIMARY KEY (episode_id, begin)
) STRICT, WITHOUT ROWID;
