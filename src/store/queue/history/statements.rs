//! The statements of a trace.

use crate::store::queue::list::recipient_columns;

/// `$1` queue id.
pub(in crate::store::queue) const MESSAGE: &str = r#"
    SELECT message_id, account_name, sender, size_octets, received_at, NULL, report_of
      FROM messages
     WHERE id = $1
     UNION ALL
    SELECT message_id, account_name, sender, size_octets, received_at, departed_at, report_of
      FROM departed
     WHERE id = $1
     LIMIT 1
"#;

/// `$1` Message-ID, `$2` limit. Queue ids sort in order of time.
pub(in crate::store::queue) const WITH_MESSAGE_ID: &str = r#"
    SELECT id FROM messages WHERE message_id = $1
     UNION
    SELECT id FROM departed WHERE message_id = $1
     ORDER BY id DESC
     LIMIT $2
"#;

/// `$1` now, `$2` lease, `$3` queue id.
pub(in crate::store::queue) const WAITING: &str = concat!(
    "SELECT ",
    recipient_columns!(),
    r#"
      FROM messages AS m
     CROSS JOIN recipients AS r ON r.message = m.number
     WHERE m.id = $3
     ORDER BY r.number
    "#
);

/// `$1` queue id. A host tried in vain comes before what the attempt came to.
pub(in crate::store::queue) const TRIES: &str = r#"
    SELECT recipient, address, next_hop, host, peer,
           tls_version, tls_suite, tls_fingerprint, tls_proof, mx_proof, requiretls,
           started_at, ended_at, outcome, code, text, said_by
      FROM tries
     WHERE queue_id = $1
     ORDER BY ended_at, outcome <> 'in vain', number
"#;

/// `$1` queue id.
pub(in crate::store::queue) const LAST_TRY: &str = r#"
    SELECT outcome, text
      FROM tries
     WHERE queue_id = $1
       AND outcome <> 'in vain'
     ORDER BY number DESC
     LIMIT 1
"#;

/// `$1` the queue id that they tell of, `$2` limit.
pub(in crate::store::queue) const REPORTS: &str = r#"
    SELECT id, received_at, NULL
      FROM messages
     WHERE report_of = $1
     UNION ALL
    SELECT id, received_at, departed_at
      FROM departed
     WHERE report_of = $1
     ORDER BY received_at, id
     LIMIT $2
"#;

macro_rules! event_columns {
    () => {
        "SELECT at, account_name, kind, queue_id, report_of, recipient, code, text FROM events "
    };
}

/// `$1` limit.
pub(in crate::store::queue) const EVENTS: &str =
    concat!(event_columns!(), "ORDER BY number DESC LIMIT $1");

/// `$1` limit, `$2` login name.
pub(in crate::store::queue) const EVENTS_OF_ACCOUNT: &str = concat!(
    event_columns!(),
    "WHERE account_name = $2 ORDER BY number DESC LIMIT $1"
);

/// `$1` queue id. Walks the events: they are few.
pub(in crate::store::queue) const EVENTS_OF_MESSAGE: &str =
    concat!(event_columns!(), "WHERE queue_id = $1 ORDER BY number");
