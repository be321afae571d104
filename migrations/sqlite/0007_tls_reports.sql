-- How sessions with mail hosts ended, by recipients' domain and day, for reports to those who ask for
-- them (RFC 8460); and what became of the reports. A day is counted from 1970-01-01 in UTC, times are
-- milliseconds since then. What is not known is empty, so that equal rows are one row.

CREATE TABLE tls_results (
    day       INTEGER NOT NULL,
    domain    TEXT    NOT NULL,
    policy    TEXT    NOT NULL CHECK (policy IN ('tlsa', 'sts', 'no-policy-found')),
    text      TEXT    NOT NULL,   -- the policy, line by line
    result    TEXT    NOT NULL,   -- RFC 8460 section 4.3, or 'success'
    host      TEXT    NOT NULL,
    receiving TEXT    NOT NULL,   -- the host's address
    sending   TEXT    NOT NULL,   -- ours
    reason    TEXT    NOT NULL,
    sessions  INTEGER NOT NULL,
    PRIMARY KEY (day, domain, policy, text, result, host, receiving, sending, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE tls_reports (
    day      INTEGER NOT NULL,
    domain   TEXT    NOT NULL,
    place    TEXT    NOT NULL,    -- where it goes; empty where nobody asks for one
    state    TEXT    NOT NULL CHECK (state IN ('waiting', 'sent', 'failed', 'unwanted')),
    tries    INTEGER NOT NULL DEFAULT 0,
    first_at INTEGER NOT NULL,
    next_at  INTEGER NOT NULL,
    said     TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (day, domain, place)
) STRICT, WITHOUT ROWID;

CREATE INDEX tls_reports_waiting ON tls_reports (next_at) WHERE state = 'waiting';
