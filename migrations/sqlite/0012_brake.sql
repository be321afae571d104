-- The brake of an account whose password may be stolen, and app passwords whose mail is held.

CREATE TABLE brakes (
    account_id  INTEGER NOT NULL PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    enabled     INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    step        TEXT    CHECK (step IN ('hold', 'refuse')),  -- none: it is not braked
    since       INTEGER,                -- seconds since 1970-01-01 UTC
    reason      TEXT,                   -- signals and numbers
    judged_from INTEGER,                -- slot: what was sent before it is no signal any more
    judged_less_outside INTEGER NOT NULL DEFAULT 0,  -- nor is so much of that slot itself
    judged_less_new     INTEGER NOT NULL DEFAULT 0,
    unlike_from INTEGER,                -- slots whose mail was not the owner's: no measure of what
    unlike_to   INTEGER                 --   is usual
) STRICT;

-- When an account first signed in well from there; NULL for long ago.
ALTER TABLE known_networks ADD COLUMN first_good_at INTEGER;

ALTER TABLE app_passwords ADD COLUMN hold INTEGER NOT NULL DEFAULT 0 CHECK (hold IN (0, 1));
