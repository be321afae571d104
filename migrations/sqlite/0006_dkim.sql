-- Keys by which mail of our domains is signed (RFC 6376). A retired key signs nothing any more and
-- its private half is gone; its selector stays, for one is never used again. Times are seconds since
-- 1970 in UTC.

CREATE TABLE dkim_keys (
    domain_id   INTEGER NOT NULL REFERENCES domains ON DELETE CASCADE,
    selector    TEXT    NOT NULL CHECK (selector <> ''),  -- lower case
    algorithm   TEXT    NOT NULL CHECK (algorithm IN ('rsa', 'ed25519')),
    private_key BLOB,                                     -- DER: PKCS #8, or PKCS #1 where it came so
    public_key  BLOB    NOT NULL,                         -- as it stands in the record, not in base64
    created_at  INTEGER NOT NULL,
    retired_at  INTEGER,
    PRIMARY KEY (domain_id, selector),
    CHECK ((private_key IS NULL) = (retired_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
