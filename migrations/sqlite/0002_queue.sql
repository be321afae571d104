-- Custody: messages, their content, the recipients still to be served, what was tried.
-- Times are milliseconds since 1970-01-01 UTC.

-- The process that runs under each node's name. A new process is a new incarnation, so that every
-- claim of the old one is free without being touched.
CREATE TABLE nodes (
    incarnation INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,
    seen_at     INTEGER NOT NULL
) STRICT;

-- A message is here from its 250 until its last recipient has ended.
CREATE TABLE messages (
    number      INTEGER NOT NULL PRIMARY KEY,   -- in order of arrival; never shown
    id          TEXT    NOT NULL UNIQUE,        -- the queue id
    account     INTEGER,                        -- who submitted it; outlives the account, so no reference
    sender      TEXT    NOT NULL,               -- reverse-path; '' is the null one
    body_type   TEXT    NOT NULL CHECK (body_type IN ('7bit', '8bitmime')),
    smtputf8    INTEGER NOT NULL CHECK (smtputf8 IN (0, 1)),
    size_octets INTEGER NOT NULL,               -- header section and body
    received_at INTEGER NOT NULL
) STRICT;

-- Apart from the messages, so that a walk over the queue does not read it.
CREATE TABLE contents (
    message     INTEGER NOT NULL PRIMARY KEY REFERENCES messages (number) ON DELETE CASCADE,
    header      BLOB    NOT NULL,
    body        BLOB,                           -- a small body
    body_file   TEXT,                           -- a large body: a file of the spool
    body_octets INTEGER NOT NULL,
    CHECK ((body IS NULL) <> (body_file IS NULL))
) STRICT;

CREATE UNIQUE INDEX contents_body_file ON contents (body_file) WHERE body_file IS NOT NULL;

-- Recipients not yet served. One that has ended loses its row.
CREATE TABLE recipients (
    message         INTEGER NOT NULL REFERENCES messages (number) ON DELETE CASCADE,
    number          INTEGER NOT NULL,           -- its place in the envelope, from 0
    address         TEXT    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('due', 'held', 'aside')),
    next_attempt_at INTEGER NOT NULL,
    claimed_by      INTEGER,                    -- an incarnation; free where that is dead
    attempts        INTEGER NOT NULL DEFAULT 0,
    last_code       TEXT,                       -- of the last attempt, where it did not succeed
    last_text       TEXT,
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX recipients_due ON recipients (claimed_by, next_attempt_at) WHERE status = 'due';

-- Attempts at recipients that did not end at the first one; the log alone tells of those that did.
-- They stay for some days after their message has gone, so they name it by its queue id.
CREATE TABLE attempts (
    number     INTEGER NOT NULL PRIMARY KEY,
    message_id TEXT    NOT NULL,
    recipient  INTEGER NOT NULL,
    address    TEXT    NOT NULL,
    next_hop   TEXT    NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at   INTEGER NOT NULL,
    outcome    TEXT    NOT NULL CHECK (outcome IN ('delivered', 'deferred', 'failed')),
    code       TEXT,
    text       TEXT    NOT NULL
) STRICT;

CREATE INDEX attempts_message_id ON attempts (message_id);
