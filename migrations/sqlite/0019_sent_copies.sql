-- Copies of what an account sends, for its own folder of sent mail.

-- Not to be delivered to this address but to be filed in that folder of its mailbox.
ALTER TABLE recipients ADD COLUMN is_copy INTEGER NOT NULL DEFAULT 0;
ALTER TABLE habits ADD COLUMN files_copies INTEGER NOT NULL DEFAULT 0 CHECK (files_copies IN (0, 1));
-- NULL: as the account has it.
ALTER TABLE app_passwords ADD COLUMN files_copies INTEGER CHECK (files_copies IN (0, 1));
