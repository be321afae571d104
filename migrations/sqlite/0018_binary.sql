-- Mail whose body is no lines (RFC 3030 section 3): body_type '8bitmime', and this.
ALTER TABLE messages ADD COLUMN is_binary INTEGER NOT NULL DEFAULT 0;
