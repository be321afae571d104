-- How much may be sent, and where to: for the site, for every account alike, for a domain's accounts
-- together, for one account, for one app password. And how much was sent, to hold it against.

CREATE TABLE sending_limits (
    scope   TEXT    NOT NULL CHECK (scope IN ('site', 'each-account', 'domain', 'account',
                                              'app-password')),
    subject INTEGER NOT NULL,  -- key of the domain, account or app password; else 0
    kind    TEXT    NOT NULL CHECK (kind IN ('message-recipients', 'message-octets',
                                             'messages-hour', 'messages-day',
                                             'recipients-hour', 'recipients-day',
                                             'new-recipients-day')),
    most    INTEGER NOT NULL CHECK (most >= 0),
    PRIMARY KEY (scope, subject, kind)
) STRICT, WITHOUT ROWID;

-- The only recipient domains that mail may go to; without a row, everywhere.
CREATE TABLE sending_destinations (
    scope   TEXT    NOT NULL CHECK (scope IN ('site', 'each-account', 'domain', 'account')),
    subject INTEGER NOT NULL,
    domain  TEXT    NOT NULL,  -- A-labels, lower case; '' stands for all domains that are ours
    PRIMARY KEY (scope, subject, domain)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER domains_limits AFTER DELETE ON domains BEGIN
    DELETE FROM sending_limits WHERE scope = 'domain' AND subject = OLD.domain_id;
    DELETE FROM sending_destinations WHERE scope = 'domain' AND subject = OLD.domain_id;
END;

CREATE TRIGGER accounts_limits AFTER DELETE ON accounts BEGIN
    DELETE FROM sending_limits WHERE scope = 'account' AND subject = OLD.account_id;
    DELETE FROM sending_destinations WHERE scope = 'account' AND subject = OLD.account_id;
END;

CREATE TRIGGER app_passwords_limits AFTER DELETE ON app_passwords BEGIN
    DELETE FROM sending_limits WHERE scope = 'app-password' AND subject = OLD.app_password_id;
END;

-- What was accepted, by ten minutes.
CREATE TABLE sent_volumes (
    scope      TEXT    NOT NULL,   -- 'site', 'domain NAME', 'account KEY', 'app-password KEY'
    slot       INTEGER NOT NULL,   -- tens of minutes since 1970-01-01 UTC
    messages   INTEGER NOT NULL DEFAULT 0,
    recipients INTEGER NOT NULL DEFAULT 0,
    outside    INTEGER NOT NULL DEFAULT 0,  -- recipients in domains that are not ours
    first_time INTEGER NOT NULL DEFAULT 0,  -- of those, ones that the account never wrote to before
    failed     INTEGER NOT NULL DEFAULT 0,  -- recipients that failed for good meanwhile
    PRIMARY KEY (scope, slot)
) STRICT, WITHOUT ROWID;

CREATE INDEX sent_volumes_slot ON sent_volumes (slot);

-- Whom an account has written to: keyed hashes, because nobody needs the list.
CREATE TABLE correspondents (
    account_id INTEGER NOT NULL REFERENCES accounts ON DELETE CASCADE,
    recipient  INTEGER NOT NULL,
    last_day   INTEGER NOT NULL,   -- days since 1970-01-01 UTC
    PRIMARY KEY (account_id, recipient)
) STRICT, WITHOUT ROWID;

CREATE INDEX correspondents_day ON correspondents (last_day);
