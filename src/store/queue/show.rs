//! One message in custody with everything that is known of it.

use std::time::SystemTime;

use super::{ContentRow, Filter, QueueEntry, claim::ContentColumns, time};
use crate::store::{Store, StoreError};

/// A message in custody.
#[derive(Clone, Debug)]
pub struct QueueMessage {
    /// What a list shows, with every recipient not yet served.
    pub entry: QueueEntry,
    /// `7bit`, `8bitmime` or `binarymime`.
    pub body_type: String,
    /// Whether SMTPUTF8 was asked for.
    pub smtputf8: bool,
    /// RET, as given (RFC 3461 §4.3).
    pub ret: Option<String>,
    /// ENVID, as spelled (RFC 3461 §4.4).
    pub envelope_id: Option<String>,
    /// MT-PRIORITY, where it is in force (RFC 6710).
    pub priority: Option<i64>,
    /// By when it is to be delivered, and N or R (RFC 2852).
    pub deadline: Option<(SystemTime, String)>,
    /// The Message-ID field.
    pub message_id: Option<String>,
    /// The queue id that this report of ours tells of.
    pub report_of: Option<String>,
    /// The header section with its blank line; none where it is missing.
    pub header: Option<Vec<u8>>,
}

type Columns = (
    String,
    bool,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<i64>,
    Option<String>,
);

impl Store {
    /// The message of a queue id as stored; `None` where it is not in custody.
    pub async fn queue_message(
        &self,
        id: &str,
        now: SystemTime,
    ) -> Result<Option<QueueMessage>, StoreError> {
        let filter = Filter {
            ids: vec![id.to_owned()],
            ..Filter::default()
        };
        let Some(entry) = self.queue_list(&filter, now, 0, 1).await?.pop() else {
            return Ok(None);
        };
        let row: Option<Columns> = sqlx::query_as(MESSAGE)
            .bind(entry.number)
            .fetch_optional(self.reader())
            .await?;
        // It may have left in between.
        Ok(row.map(|row| {
            let (body_type, smtputf8, ret, envelope_id, message_id, report_of, ..) = row;
            let (.., header, priority, deliver_by, by_mode) = row;
            QueueMessage {
                entry,
                body_type,
                smtputf8,
                ret,
                envelope_id,
                priority,
                deadline: deliver_by.map(time).zip(by_mode),
                message_id,
                report_of,
                header,
            }
        }))
    }

    /// The content of a message whose queue id may be what cannot be read; `None` where it has none.
    pub async fn stored_content(&self, id: &str) -> Result<Option<ContentRow>, StoreError> {
        let row: Option<ContentColumns> = sqlx::query_as(CONTENT)
            .bind(id)
            .fetch_optional(self.reader())
            .await?;
        Ok(row.map(ContentRow::from))
    }
}

const MESSAGE: &str = r#"
    SELECT CASE WHEN m.is_binary THEN 'binarymime' ELSE m.body_type END, m.smtputf8, m.ret, m.envelope_id, m.message_id, m.report_of, c.header,
           m.priority, m.deliver_by, m.by_mode
      FROM messages AS m
      LEFT JOIN contents AS c ON c.message = m.number
     WHERE m.number = $1
"#;

const CONTENT: &str = r#"
    SELECT c.header, c.body, c.body_file, c.body_octets
      FROM messages AS m
      JOIN contents AS c ON c.message = m.number
     WHERE m.id = $1
"#;
