//! The statements of a change: constant; whatever changes rows goes by their keys.

use crate::store::queue::filter::{message_matches, recipient_matches, state};

/// `$1` queue ids.
pub(in crate::store::queue) const UNKNOWN: &str = r#"
    SELECT value
      FROM json_each($1)
     WHERE NOT EXISTS (SELECT 1 FROM messages WHERE id = value)
"#;

/// `$1`, `$2` behind this recipient, `$3` up to this message, `$4` how many to pass.
pub(in crate::store::queue) const END: &str = r#"
    SELECT message, number
      FROM recipients
     WHERE (message, number) > ($1, $2)
       AND message <= $3
     ORDER BY message, number
     LIMIT 1 OFFSET $4
"#;

/// `$15`, `$16` behind this recipient, `$17` limit, `$18`, `$19` up to this one.
pub(in crate::store::queue) const WALK: &str = concat!(
    r#"
    SELECT r.message, r.number
      FROM recipients AS r
     CROSS JOIN messages AS m ON m.number = r.message
     WHERE (r.message, r.number) > ($15, $16)
       AND (r.message, r.number) <= ($18, $19)
       AND "#,
    message_matches!(),
    "AND ",
    recipient_matches!(),
    "ORDER BY r.message, r.number LIMIT $17"
);

/// `$15`, `$16` behind this recipient, `$17` limit, `$18` queue ids.
pub(in crate::store::queue) const BY_ID: &str = concat!(
    r#"
    SELECT r.message, r.number
      FROM json_each($18) AS j
     CROSS JOIN messages AS m ON m.id = j.value
     CROSS JOIN recipients AS r ON r.message = m.number
     WHERE (r.message, r.number) > ($15, $16)
       AND "#,
    message_matches!(),
    "AND ",
    recipient_matches!(),
    "ORDER BY r.message, r.number LIMIT $17"
);

/// `$1` now, `$2` lease, `$3` keys.
pub(in crate::store::queue) const STATES: &str = concat!(
    "SELECT r.message, r.number, m.id, r.address, ",
    state!(),
    r#"
           , r.next_attempt_at, r.is_copy
      FROM json_each($3) AS j
     CROSS JOIN recipients AS r ON r.message = j.value ->> 0 AND r.number = j.value ->> 1
     CROSS JOIN messages AS m ON m.number = r.message
    "#
);

/// `$1` keys.
pub(in crate::store::queue) const HOLD: &str = r#"
    UPDATE recipients
       SET status = 'held',
           claimed_by = NULL
     WHERE (message, number) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))
"#;

/// `$1` keys, `$2` now.
pub(in crate::store::queue) const RELEASE: &str = r#"
    UPDATE recipients
       SET status = CASE WHEN (SELECT release_at FROM messages WHERE number = message) > $2
                         THEN 'later'
                         ELSE 'due'
                    END,
           next_attempt_at = max($2, coalesce((SELECT release_at
                                                 FROM messages
                                                WHERE number = message), 0)),
           claimed_by = NULL
     WHERE (message, number) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))
"#;

/// `$1` keys, `$2` now. Mail that was held for long is as young as others when it is released.
pub(in crate::store::queue) const RELEASED: &str = r#"
    UPDATE messages
       SET release_at = $2
     WHERE number IN (SELECT value ->> 0 FROM json_each($1))
       AND coalesce(release_at, 0) < $2
"#;

/// `$1` keys, `$2` now.
pub(in crate::store::queue) const RETRY: &str = r#"
    UPDATE recipients
       SET next_attempt_at = $2,
           claimed_by = NULL
     WHERE (message, number) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))
"#;

/// `$1` keys.
pub(in crate::store::queue) const ENDING: &str = r#"
    SELECT m.id, r.address
      FROM json_each($1) AS j
     CROSS JOIN recipients AS r ON r.message = j.value ->> 0 AND r.number = j.value ->> 1
     CROSS JOIN messages AS m ON m.number = r.message
"#;

/// `$1` keys, `$2` now, `$3` text.
pub(in crate::store::queue) const TRIES: &str = r#"
    INSERT INTO tries
           (queue_id, recipient, address, next_hop, started_at, ended_at, outcome, text, said_by)
    SELECT m.id, r.number, r.address, 'none', $2, $2, 'cancelled', $3, 'us'
      FROM json_each($1) AS j
     CROSS JOIN recipients AS r ON r.message = j.value ->> 0 AND r.number = j.value ->> 1
     CROSS JOIN messages AS m ON m.number = r.message
"#;

/// `$1` keys, `$2` now, `$3` text.
pub(in crate::store::queue) const EVENTS: &str = r#"
    INSERT INTO events (at, account, account_name, kind, queue_id, report_of, recipient, text)
    SELECT $2, m.account, m.account_name, 'cancelled', m.id, m.report_of, r.address, $3
      FROM json_each($1) AS j
     CROSS JOIN recipients AS r ON r.message = j.value ->> 0 AND r.number = j.value ->> 1
     CROSS JOIN messages AS m ON m.number = r.message
"#;

/// `$1` keys.
pub(in crate::store::queue) const END_RECIPIENTS: &str = r#"
    DELETE FROM recipients
     WHERE (message, number) IN (SELECT value ->> 0, value ->> 1 FROM json_each($1))
"#;

/// `$1` keys.
pub(in crate::store::queue) const ENDED_FILES: &str = r#"
    SELECT body_file
      FROM contents
     WHERE message IN (SELECT value ->> 0 FROM json_each($1))
       AND body_file IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM recipients AS r WHERE r.message = contents.message)
"#;

/// `$1` keys, `$2` now.
pub(in crate::store::queue) const DEPARTED: &str = r#"
    INSERT INTO departed
           (id, message_id, account, account_name, sender, size_octets, received_at, departed_at,
            report_of)
    SELECT id, message_id, account, account_name, sender, size_octets, received_at, $2, report_of
      FROM messages
     WHERE number IN (SELECT value ->> 0 FROM json_each($1))
       AND NOT EXISTS (SELECT 1 FROM recipients AS r WHERE r.message = messages.number)
"#;

/// `$1` keys.
pub(in crate::store::queue) const END_MESSAGES: &str = r#"
    DELETE FROM messages
     WHERE number IN (SELECT value ->> 0 FROM json_each($1))
       AND NOT EXISTS (SELECT 1 FROM recipients AS r WHERE r.message = messages.number)
"#;
