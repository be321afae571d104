-- Mail that is handed on at a time of its sender's choice (RFC 4865), and time to take mail back.

-- The same table, with a further status: not due yet, whatever the clock does.
CREATE TABLE recipients_anew (
    message         INTEGER NOT NULL REFERENCES messages (number) ON DELETE CASCADE,
    number          INTEGER NOT NULL,           -- its place in the envelope, from 0
    address         TEXT    NOT NULL,
    status          TEXT    NOT NULL CHECK (status IN ('later', 'due', 'held', 'aside')),
    next_attempt_at INTEGER NOT NULL,
    claimed_by      INTEGER,                    -- an incarnation; free where that is dead
    attempts        INTEGER NOT NULL DEFAULT 0,
    last_code       TEXT,                       -- of the last attempt, where it did not succeed
    last_text       TEXT,
    notify          TEXT,                       -- NOTIFY as given
    original        TEXT,                       -- ORCPT as given
    delay_told_at   INTEGER,                    -- when its sender last heard of the delay
    unprotected_since INTEGER,
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;

INSERT INTO recipients_anew
       (message, number, address, status, next_attempt_at, claimed_by, attempts, last_code,
        last_text, notify, original, delay_told_at, unprotected_since)
SELECT message, number, address, status, next_attempt_at, claimed_by, attempts, last_code,
       last_text, notify, original, delay_told_at, unprotected_since
  FROM recipients;

DROP TABLE recipients;
ALTER TABLE recipients_anew RENAME TO recipients;

CREATE INDEX recipients_due ON recipients (claimed_by, next_attempt_at) WHERE status = 'due';
CREATE INDEX recipients_later ON recipients (next_attempt_at) WHERE status = 'later';

-- From when a message is handed on, and its age counts, where that is not when it came.
ALTER TABLE messages ADD COLUMN release_at INTEGER;
-- What its sender asked for (RFC 4865 section 5.1.2).
ALTER TABLE messages ADD COLUMN release_request TEXT;

-- Seconds within which an account may take back what it sent.
CREATE TABLE undo_windows (
    account_id INTEGER PRIMARY KEY REFERENCES accounts (account_id) ON DELETE CASCADE,
    seconds    INTEGER NOT NULL CHECK (seconds BETWEEN 1 AND 120)
) STRICT;
