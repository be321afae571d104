-- Domains that we send for, accounts that may sign in, and what each may send as.
-- Times are seconds since 1970 in UTC. Names and keys are compared as stored: whatever folding there
-- is happens before they come here, so that the database's own idea of case never matters.

CREATE TABLE domains (
    domain_id  INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL UNIQUE CHECK (name <> ''),  -- A-labels, lower case
    created_at INTEGER NOT NULL
) STRICT;

-- AUTOINCREMENT: an id is never used again, because mail in the queue names its account by it.
CREATE TABLE accounts (
    account_id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name                TEXT    NOT NULL UNIQUE CHECK (name <> ''),  -- login name, prepared and folded
    password_hash       TEXT    NOT NULL CHECK (password_hash LIKE '$%'),  -- PHC string
    enabled             INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    address             TEXT    NOT NULL,  -- own address as written; From: where a client sends none
    created_at          INTEGER NOT NULL,
    password_changed_at INTEGER NOT NULL
) STRICT;

-- Several accounts may share an address (sales@), so a key is unique within its account only.
CREATE TABLE account_addresses (
    account_id INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind       TEXT    NOT NULL CHECK (kind IN ('exact', 'domain')),
    folded     TEXT    NOT NULL CHECK (folded <> ''),  -- what is compared: mailbox or domain
    address    TEXT    NOT NULL,                       -- what is shown: as written
    domain_id  INTEGER NOT NULL REFERENCES domains ON DELETE RESTRICT,
    PRIMARY KEY (account_id, kind, folded)
) STRICT, WITHOUT ROWID;

-- Each RCPT asks whether somebody has the address.
CREATE INDEX account_addresses_by_address ON account_addresses (folded, kind);
-- Removing a domain asks who uses it.
CREATE INDEX account_addresses_by_domain ON account_addresses (domain_id);

-- Where accounts signed in well: guessing by others does not stop them there.
CREATE TABLE known_networks (
    account_id   INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    network      TEXT    NOT NULL,  -- address/prefix
    last_good_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, network)
) STRICT, WITHOUT ROWID;

CREATE INDEX known_networks_by_age ON known_networks (last_good_at);
