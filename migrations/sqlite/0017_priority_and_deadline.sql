-- How urgent mail is (RFC 6710), and by when it is to be delivered (RFC 2852).

ALTER TABLE messages ADD COLUMN priority INTEGER CHECK (priority BETWEEN -9 AND 9);
ALTER TABLE messages ADD COLUMN deliver_by INTEGER;     -- milliseconds since 1970
ALTER TABLE messages ADD COLUMN by_mode TEXT;           -- N or R
ALTER TABLE messages ADD COLUMN by_trace INTEGER;

-- That of its message, 0 where that has none: what is due goes in this order.
ALTER TABLE recipients ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;

-- Mail of priority 0 has an index of its own: neither much urgent nor much slow mail is in its way.
DROP INDEX recipients_due;
CREATE INDEX recipients_due ON recipients (claimed_by, next_attempt_at)
 WHERE status = 'due' AND priority = 0;
CREATE INDEX recipients_due_by_priority ON recipients (claimed_by, priority, next_attempt_at)
 WHERE status = 'due' AND priority <> 0;

-- What an account's mail does beside its rights; no row where nothing was set.
CREATE TABLE habits (
    account_id  INTEGER PRIMARY KEY REFERENCES accounts (account_id) ON DELETE CASCADE,
    -- Seconds within which it may be taken back.
    undo        INTEGER NOT NULL DEFAULT 0 CHECK (undo BETWEEN 0 AND 120),
    -- What it calls itself is replaced by the account's own address.
    forces_from INTEGER NOT NULL DEFAULT 0 CHECK (forces_from IN (0, 1)),
    -- How urgent it may be.
    priority    INTEGER NOT NULL DEFAULT 0 CHECK (priority BETWEEN -9 AND 9)
) STRICT;

INSERT INTO habits (account_id, undo, forces_from)
SELECT a.account_id,
       coalesce((SELECT seconds FROM undo_windows AS u WHERE u.account_id = a.account_id), 0),
       EXISTS (SELECT 1 FROM forced_from AS f WHERE f.account_id = a.account_id)
  FROM accounts AS a
 WHERE a.account_id IN (SELECT account_id FROM undo_windows
                         UNION
                        SELECT account_id FROM forced_from);

DROP TABLE undo_windows;
DROP TABLE forced_from;
