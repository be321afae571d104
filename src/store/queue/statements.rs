//! The statements of a group commit: constant, and each keeps to keys and indexes.

/// `$1` messages, `$2` contents, `$3` recipients, `$4` volumes, `$5` correspondents.
///
/// Not `?1`: sqlx takes the gaps that a statement leaves for parameters of their own.
macro_rules! accept {
    () => {
        r#"
        BEGIN IMMEDIATE;

        INSERT INTO messages
               (number, id, account, sender, body_type, smtputf8, size_octets, received_at,
                account_name, message_id, ret, envelope_id, report_of, level, tls_wish,
                release_at, release_request, priority, deliver_by, by_mode, by_trace,
                is_binary)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3,
               value ->> 4, value ->> 5, value ->> 6, value ->> 7,
               value ->> 13, value ->> 14, value ->> 15, value ->> 16, value ->> 17,
               value ->> 18, value ->> 19, value ->> 20, value ->> 21, value ->> 22, value ->> 23,
               value ->> 24, value ->> 25, value ->> 26
          FROM json_each($1);

        INSERT INTO contents (message, header, body, body_file, body_octets)
        SELECT value ->> 0,
               substr($2, value ->> 8, value ->> 9),
               CASE WHEN value ->> 12 IS NULL
                    THEN substr($2, value ->> 10, value ->> 11)
               END,
               value ->> 12,
               value ->> 11
          FROM json_each($1);

        INSERT INTO recipients
               (message, number, address, status, next_attempt_at, claimed_by, notify, original,
                priority, is_copy)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 7, value ->> 3, value ->> 4,
               value ->> 5, value ->> 6, value ->> 8, value ->> 9
          FROM json_each($3);

        INSERT INTO sent_volumes (scope, slot, messages, recipients, outside, first_time)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
          FROM json_each($4)
         WHERE true                             -- else ON would be read as that of a join
            ON CONFLICT (scope, slot) DO UPDATE
           SET messages = messages + excluded.messages,
               recipients = recipients + excluded.recipients,
               outside = outside + excluded.outside,
               first_time = first_time + excluded.first_time;

        INSERT INTO correspondents (account_id, recipient, last_day)
        SELECT value ->> 0, value ->> 1, value ->> 2
          FROM json_each($5)
         WHERE EXISTS (SELECT 1 FROM accounts WHERE account_id = value ->> 0)
            ON CONFLICT (account_id, recipient) DO UPDATE
           SET last_day = excluded.last_day
         WHERE last_day < excluded.last_day;
        "#
    };
}

/// `$6` records, `$7` releases, `$8` events.
macro_rules! settle {
    () => {
        r#"
        INSERT INTO tries
               (queue_id, recipient, address, next_hop,
                started_at, ended_at, outcome, code, text, said_by,
                host, peer, tls_version, tls_suite, tls_fingerprint, tls_proof,
                mx_proof, requiretls)
        SELECT m.id, r.number, r.address, j.value ->> 4,
               j.value ->> 5, j.value ->> 6, j.value ->> 7, j.value ->> 8, j.value ->> 9,
               j.value ->> 10, j.value ->> 12, j.value ->> 13, j.value ->> 14, j.value ->> 15,
               j.value ->> 16, j.value ->> 17, j.value ->> 18, j.value ->> 19
          FROM json_each($6) AS j
         CROSS JOIN messages AS m ON m.id = j.value ->> 0
         CROSS JOIN recipients AS r ON r.message = m.number AND r.number = j.value ->> 1
         WHERE j.value ->> 7 IS NOT NULL;       -- nobody was asked

        INSERT INTO events
               (at, account, account_name, kind, queue_id, report_of, recipient, code, text)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
               value ->> 6, value ->> 7, value ->> 8
          FROM json_each($8);

        INSERT INTO sent_volumes (scope, slot, failed)
        SELECT 'account ' || m.account, (j.value ->> 6) / 600000, count(*)
          FROM json_each($6) AS j
         CROSS JOIN messages AS m ON m.id = j.value ->> 0
         WHERE j.value ->> 7 = 'failed'
           AND m.account IS NOT NULL
           AND m.report_of IS NULL
           AND NOT EXISTS (SELECT 1
                             FROM recipients AS r
                            WHERE r.message = m.number
                              AND r.number = j.value ->> 1
                              AND r.is_copy)
         GROUP BY 1, 2
            ON CONFLICT (scope, slot) DO UPDATE
           SET failed = failed + excluded.failed;

        DELETE FROM recipients
         WHERE (message, number) IN
               (SELECT m.number, j.value ->> 1
                  FROM json_each($6) AS j
                 CROSS JOIN messages AS m ON m.id = j.value ->> 0
                 WHERE j.value ->> 2 = 'done');

        -- An update through the key: UPDATE … FROM walks the whole table first.
        INSERT INTO recipients
               (message, number, address, status, next_attempt_at, attempts, last_code, last_text,
                delay_told_at, unprotected_since)
        SELECT r.message, r.number, r.address, j.value ->> 2, j.value ->> 3,
               r.attempts + (j.value ->> 20),
               coalesce(j.value ->> 8, r.last_code), coalesce(j.value ->> 9, r.last_text),
               coalesce(j.value ->> 11, r.delay_told_at),
               CASE WHEN j.value ->> 20 = 0               -- no attempt was made
                    THEN r.unprotected_since
                    ELSE j.value ->> 21
               END
          FROM json_each($6) AS j
         CROSS JOIN messages AS m ON m.id = j.value ->> 0
         CROSS JOIN recipients AS r ON r.message = m.number AND r.number = j.value ->> 1
         WHERE j.value ->> 2 IN ('due', 'held')
           AND r.status <> 'aside'
            ON CONFLICT (message, number) DO UPDATE
           SET status = excluded.status,
               next_attempt_at = excluded.next_attempt_at,
               claimed_by = NULL,
               attempts = excluded.attempts,
               last_code = excluded.last_code,
               last_text = excluded.last_text,
               delay_told_at = excluded.delay_told_at,
               unprotected_since = excluded.unprotected_since;

        SELECT body_file
          FROM contents
         WHERE message IN (SELECT m.number
                             FROM json_each($6) AS j
                            CROSS JOIN messages AS m ON m.id = j.value ->> 0
                            WHERE j.value ->> 2 = 'done')
           AND body_file IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM recipients AS r WHERE r.message = contents.message);

        INSERT INTO departed
               (id, message_id, account, account_name, sender, size_octets, received_at,
                departed_at, report_of)
        SELECT m.id, m.message_id, m.account, m.account_name, m.sender, m.size_octets,
               m.received_at, j.value ->> 6, m.report_of
          FROM json_each($6) AS j
         CROSS JOIN messages AS m ON m.id = j.value ->> 0
         WHERE j.value ->> 2 = 'done'
           AND NOT EXISTS (SELECT 1 FROM recipients AS r WHERE r.message = m.number)
         GROUP BY m.id;

        DELETE FROM messages
         WHERE number IN (SELECT m.number
                            FROM json_each($6) AS j
                           CROSS JOIN messages AS m ON m.id = j.value ->> 0
                           WHERE j.value ->> 2 = 'done')
           AND NOT EXISTS (SELECT 1 FROM recipients AS r WHERE r.message = messages.number);

        UPDATE recipients
           SET claimed_by = NULL
         WHERE message IN (SELECT m.number
                             FROM json_each($7) AS j
                            CROSS JOIN messages AS m ON m.id = j.value ->> 0)
           AND claimed_by IS NOT NULL;
        "#
    };
}

/// A batch of new messages alone.
pub(super) const ACCEPT: &str = concat!(accept!(), "COMMIT");
/// Any batch.
pub(super) const EVERYTHING: &str = concat!(accept!(), settle!(), "COMMIT");
