-- MTA-STS policies of other domains, for as long as they may be kept (RFC 8461 §3.2): an attacker
-- who hides a domain's record from us must not make us forget what it said before. Times are
-- milliseconds since 1970-01-01 UTC.

CREATE TABLE sts_policies (
    domain     TEXT    NOT NULL PRIMARY KEY,    -- lower case, ASCII
    id         TEXT    NOT NULL,                -- of the record by which the policy was fetched
    policy     TEXT    NOT NULL,                -- the file as fetched
    fetched_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX sts_policies_expires_at ON sts_policies (expires_at);
