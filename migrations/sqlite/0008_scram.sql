-- Keys by which a password can be proved without being shown (SCRAM-SHA-256, RFC 5802 §3), for
-- accounts whose password was set while they were wanted. One salt serves all that an account signs
-- in with: the server says it before it can know which of them is meant.

ALTER TABLE accounts ADD COLUMN scram_salt       BLOB;
ALTER TABLE accounts ADD COLUMN scram_iterations INTEGER CHECK (scram_iterations >= 4096);
ALTER TABLE accounts ADD COLUMN scram_stored_key BLOB    CHECK (length(scram_stored_key) = 32);
ALTER TABLE accounts ADD COLUMN scram_server_key BLOB    CHECK (length(scram_server_key) = 32);

-- Octets that this installation alone knows, each made when it is first needed.
CREATE TABLE secrets (
    name  TEXT NOT NULL PRIMARY KEY CHECK (name <> ''),
    value BLOB NOT NULL CHECK (length(value) = 32)
) STRICT, WITHOUT ROWID;
