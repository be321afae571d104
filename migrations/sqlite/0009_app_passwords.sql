-- Passwords for one device or program each, made by us and shown once; each may do less than its
-- account. Hashed fast, because they are random and long, under a key of this installation.

CREATE TABLE app_passwords (
    app_password_id  INTEGER PRIMARY KEY AUTOINCREMENT,  -- sessions name it: never used again
    account_id       INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    label            TEXT    NOT NULL CHECK (label <> ''),
    keyed_hash       BLOB    NOT NULL CHECK (length(keyed_hash) = 32),
    scram_stored_key BLOB    NOT NULL CHECK (length(scram_stored_key) = 32),
    scram_server_key BLOB    NOT NULL CHECK (length(scram_server_key) = 32),
    require_tls      INTEGER NOT NULL CHECK (require_tls IN (0, 1)),  -- REQUIRETLS for all its mail
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER,
    last_used_at     INTEGER,
    last_network     TEXT,
    uses             INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account_id, label)
) STRICT;

-- What an app password is narrowed to; without a row of a kind, to nothing of that kind.
CREATE TABLE app_password_limits (
    app_password_id INTEGER NOT NULL REFERENCES app_passwords ON DELETE CASCADE,
    kind            TEXT    NOT NULL CHECK (kind IN ('send-as', 'to', 'network')),
    value           TEXT    NOT NULL CHECK (value <> ''),  -- mailbox, domain or address/prefix
    PRIMARY KEY (app_password_id, kind, value)
) STRICT, WITHOUT ROWID;

-- Whether the account's own password is refused.
ALTER TABLE accounts ADD COLUMN app_passwords_only INTEGER NOT NULL DEFAULT 0
      CHECK (app_passwords_only IN (0, 1));
