-- Accounts of devices: what they call themselves is replaced by the account's own address.

CREATE TABLE forced_from (
    account_id INTEGER PRIMARY KEY REFERENCES accounts (account_id) ON DELETE CASCADE
) STRICT;
