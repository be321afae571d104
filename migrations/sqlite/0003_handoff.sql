-- Hand-off to other servers: what the sender asked to hear, how each attempt travelled, what became
-- of messages that have left. Times are milliseconds since 1970-01-01 UTC.

ALTER TABLE messages ADD COLUMN account_name TEXT;      -- login name of `account` at that time
ALTER TABLE messages ADD COLUMN message_id   TEXT;      -- Message-ID field, with its brackets
ALTER TABLE messages ADD COLUMN ret          TEXT CHECK (ret IN ('FULL', 'HDRS'));
ALTER TABLE messages ADD COLUMN envelope_id  TEXT;      -- ENVID as spelled by the client
ALTER TABLE messages ADD COLUMN report_of    TEXT;      -- the queue id that this report of ours tells of

ALTER TABLE recipients ADD COLUMN notify         TEXT;     -- NOTIFY as given
ALTER TABLE recipients ADD COLUMN original       TEXT;     -- ORCPT as given
ALTER TABLE recipients ADD COLUMN delay_told_at  INTEGER;  -- when its sender last heard of the delay

-- Every attempt, and every host that was tried in vain within one. They stay for some days after
-- their message has gone, so they name it by its queue id.
CREATE TABLE tries (
    number      INTEGER NOT NULL PRIMARY KEY,
    queue_id    TEXT    NOT NULL,
    recipient   INTEGER NOT NULL,
    address     TEXT    NOT NULL,
    next_hop    TEXT    NOT NULL,                       -- name of the route
    host        TEXT,
    peer        TEXT,                                   -- address and port connected to
    tls_version TEXT,
    tls_suite   TEXT,
    tls_fingerprint TEXT,                               -- SHA-256 of the host's certificate, hex
    tls_proof   TEXT,                                   -- how the host proved its name
    started_at  INTEGER NOT NULL,
    ended_at    INTEGER NOT NULL,
    outcome     TEXT    NOT NULL CHECK (outcome IN ('delivered', 'relayed', 'deferred', 'failed',
                                                    'expired', 'cancelled', 'in vain')),
    code        TEXT,
    text        TEXT    NOT NULL,
    said_by     TEXT    NOT NULL CHECK (said_by IN ('us', 'hop'))
) STRICT;

CREATE INDEX tries_queue_id ON tries (queue_id);

INSERT INTO tries (queue_id, recipient, address, next_hop, started_at, ended_at, outcome, code, text,
                   said_by)
SELECT message_id, recipient, address, next_hop, started_at, ended_at, outcome, code, text, 'us'
  FROM attempts
 ORDER BY number;

DROP TABLE attempts;

-- Messages whose last recipient has ended, for the same days.
CREATE TABLE departed (
    number       INTEGER NOT NULL PRIMARY KEY,          -- in order of departure
    id           TEXT    NOT NULL,                      -- the queue id
    message_id   TEXT,
    account      INTEGER,
    account_name TEXT,
    sender       TEXT    NOT NULL,
    size_octets  INTEGER NOT NULL,
    received_at  INTEGER NOT NULL,
    departed_at  INTEGER NOT NULL,
    report_of    TEXT
) STRICT;

CREATE INDEX departed_id ON departed (id);
CREATE INDEX departed_message_id ON departed (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX departed_report_of ON departed (report_of) WHERE report_of IS NOT NULL;
CREATE INDEX messages_report_of ON messages (report_of) WHERE report_of IS NOT NULL;

-- What an account should know of and no report can tell: mail of a null sender that did not arrive.
CREATE TABLE events (
    number       INTEGER NOT NULL PRIMARY KEY,
    at           INTEGER NOT NULL,
    account      INTEGER,
    account_name TEXT,
    kind         TEXT    NOT NULL CHECK (kind IN ('undeliverable', 'cancelled')),
    queue_id     TEXT    NOT NULL,
    report_of    TEXT,
    recipient    TEXT    NOT NULL,
    code         TEXT,
    text         TEXT    NOT NULL
) STRICT;

CREATE INDEX events_account ON events (account_name, number);
CREATE INDEX events_queue_id ON events (queue_id);
