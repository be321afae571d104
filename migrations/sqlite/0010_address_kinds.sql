-- Two more kinds of addresses that an account may send as: any tag behind a name, and every domain
-- below one. The table is made anew, because a CHECK cannot be changed; nothing refers to it.

CREATE TABLE addresses_of_accounts (
    account_id INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    kind       TEXT    NOT NULL CHECK (kind IN ('exact', 'tagged', 'domain', 'subdomains')),
    folded     TEXT    NOT NULL CHECK (folded <> ''),  -- what is compared: mailbox or domain
    address    TEXT    NOT NULL,                       -- what is shown: as written
    domain_id  INTEGER NOT NULL REFERENCES domains ON DELETE RESTRICT,
    PRIMARY KEY (account_id, kind, folded)
) STRICT, WITHOUT ROWID;

INSERT INTO addresses_of_accounts (account_id, kind, folded, address, domain_id)
SELECT account_id, kind, folded, address, domain_id
  FROM account_addresses;

DROP TABLE account_addresses;

ALTER TABLE addresses_of_accounts RENAME TO account_addresses;

CREATE INDEX account_addresses_by_address ON account_addresses (folded, kind);
CREATE INDEX account_addresses_by_domain ON account_addresses (domain_id);
