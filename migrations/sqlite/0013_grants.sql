-- Addresses that an account may send as until some time (seconds since 1970-01-01 UTC).

ALTER TABLE account_addresses ADD COLUMN expires_at INTEGER;
