-- Certificates by which clients sign in (SASL EXTERNAL), known by their SHA-256 alone.

CREATE TABLE certificates (
    fingerprint BLOB PRIMARY KEY CHECK (length(fingerprint) = 32),
    account_id INTEGER NOT NULL REFERENCES accounts (account_id) ON DELETE CASCADE,
    -- What its owner calls it.
    label TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX certificates_by_account ON certificates (account_id);
