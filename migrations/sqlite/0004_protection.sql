-- How well mail must be protected on its way out: what accounts and messages ask, what attempts
-- proved, and since when a recipient waits for it. Times are milliseconds since 1970-01-01 UTC.

ALTER TABLE accounts ADD COLUMN level TEXT
      CHECK (level IN ('opportunistic', 'encrypted', 'verified'));      -- the least for its mail
ALTER TABLE accounts ADD COLUMN tls   TEXT
      CHECK (tls IN ('require', 'may-lower'));                          -- RFC 8689

ALTER TABLE messages ADD COLUMN level    TEXT
      CHECK (level IN ('opportunistic', 'encrypted', 'verified'));
ALTER TABLE messages ADD COLUMN tls_wish TEXT
      CHECK (tls_wish IN ('optional', 'required'));                     -- RFC 8689

ALTER TABLE recipients ADD COLUMN unprotected_since INTEGER;

ALTER TABLE tries ADD COLUMN mx_proof   TEXT;       -- what vouched for the mail host
ALTER TABLE tries ADD COLUMN requiretls INTEGER;    -- whether REQUIRETLS was passed on, where asked
