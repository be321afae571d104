//! `gatepost queue show`: one message, with what its sender asked for and its header section.

use std::{path::Path, time::SystemTime};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{last_words, list, next_attempt, reader};
use crate::{
    cli::{answer::Answer, timestamp},
    server::logging::escape,
    store::queue::{QueueMessage, QueueRecipient},
};

/// Both forms of a message in custody.
pub async fn show(id: &str, database: &Path) -> Result<Answer> {
    let message = match reader(database).await? {
        None => None,
        Some(store) => {
            let message = store.queue_message(id, SystemTime::now()).await;
            store.close().await;
            message?
        }
    };
    match message {
        Some(message) => Ok(Answer {
            text: text(&message),
            objects: vec![object(&message)],
        }),
        None => bail!(
            "no message {id} is in custody; gatepost trace {id} tells what became of it",
            id = escape(id)
        ),
    }
}

fn text(message: &QueueMessage) -> String {
    let entry = &message.entry;
    let mut lines = Lines::default();
    lines.add("queue id", Some(&entry.id));
    lines.add("report of", message.report_of.as_deref());
    lines.add("sender", Some(&format!("<{}>", entry.sender)));
    lines.add("account", entry.account_name.as_deref());
    lines.add("accepted", Some(&timestamp(entry.received_at)));
    lines.add("octets", Some(&entry.size_octets.to_string()));
    lines.add("message-id", message.message_id.as_deref());
    lines.add("body", Some(&message.body_type.to_uppercase()));
    lines.add("smtputf8", message.smtputf8.then_some("asked for"));
    let priority = message.priority.map(|it| it.to_string());
    lines.add("priority", priority.as_deref());
    let deadline = message.deadline.as_ref().map(|(at, mode)| {
        let then = if mode == "R" {
            "else returned"
        } else {
            "else told of"
        };
        format!("{}, {then}", timestamp(*at))
    });
    lines.add("deliver by", deadline.as_deref());
    lines.add("ret", message.ret.as_deref());
    lines.add("envid", message.envelope_id.as_deref());
    for to in &entry.recipients {
        let word = if to.is_copy { "copy for" } else { "recipient" };
        lines.add(word, Some(&format!("<{}>", to.address)));
        lines.add("  state", Some(&state(to)));
        lines.add(
            "  last",
            Some(&last_words(to))
                .filter(|words| !words.is_empty())
                .map(|it| it.as_str()),
        );
        lines.add("  notify", to.notify.as_deref());
        lines.add("  orcpt", to.original.as_deref());
        let told_at = to.delay_told_at.map(timestamp);
        lines.add("  delay told", told_at.as_deref());
    }
    match &message.header {
        None => lines.add("header", Some("is missing")),
        Some(header) => {
            lines.0.push_str("header\n");
            let header = String::from_utf8_lossy(header);
            for line in header.trim_end().split('\n') {
                let line = line.strip_suffix('\r').unwrap_or(line);
                let line = escape(&line.replace('\t', "    "));
                lines.0.push_str(&format!("  {line}\n"));
            }
        }
    }
    lines.0
}

/// Names and values below each other; values are made harmless for a terminal (S22).
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.0.push_str(&format!("{name:14}{}\n", escape(value)));
        }
    }
}

fn state(to: &QueueRecipient) -> String {
    let mut text = to.state.as_str().to_owned();
    match to.attempts {
        0 => {}
        1 => text.push_str(", 1 attempt"),
        attempts => text.push_str(&format!(", {attempts} attempts")),
    }
    if let Some(next) = next_attempt(to) {
        text.push_str(&format!(", next {next}"));
    }
    text
}

fn object(message: &QueueMessage) -> Value {
    let mut object = list::object(&message.entry);
    let header = message.header.as_deref().map(String::from_utf8_lossy);
    let more = json!({
        "report_of": message.report_of,
        "message_id": message.message_id,
        "body": message.body_type,
        "smtputf8": message.smtputf8,
        "priority": message.priority,
        "deliver_by": message.deadline.as_ref().map(|(at, _)| timestamp(*at)),
        "by_mode": message.deadline.as_ref().map(|(_, mode)| mode),
        "ret": message.ret,
        "envelope_id": message.envelope_id,
        "recipients": message.entry.recipients.iter().map(recipient).collect::<Vec<_>>(),
        "header": header,
    });
    merge(&mut object, more);
    object
}

fn recipient(to: &QueueRecipient) -> Value {
    let mut object = list::recipient(to);
    let more = json!({
        "notify": to.notify,
        "original": to.original,
        "delay_told_at": to.delay_told_at.map(timestamp),
    });
    merge(&mut object, more);
    object
}

/// Adds the members of one object to another.
fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(mut more)) = (object, more) {
        object.append(&mut more);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::queue::{QueueEntry, RecipientState};

    fn message() -> QueueMessage {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000);
        QueueMessage {
            entry: QueueEntry {
                number: 1,
                id: "Q1".into(),
                account: None,
                account_name: Some("ann".into()),
                sender: String::new(),
                size_octets: 20,
                received_at: at,
                recipients: vec![QueueRecipient {
                    number: 0,
                    address: "bob@example.net".into(),
                    state: RecipientState::Deferred,
                    attempts: 1,
                    next_attempt_at: at,
                    last_code: Some("4.2.0".into()),
                    last_text: Some("busy\u{1b}[2J".into()),
                    notify: Some("NEVER".into()),
                    original: None,
                    is_copy: false,
                    delay_told_at: Some(at),
                }],
            },
            body_type: "8bitmime".into(),
            smtputf8: false,
            ret: Some("HDRS".into()),
            envelope_id: None,
            priority: None,
            deadline: None,
            message_id: None,
            report_of: None,
            header: Some(b"Subject: \x1b[2J\r\n\tx\xff\r\n\r\n".to_vec()),
        }
    }

    #[test]
    fn a_message_is_shown_with_its_options_and_moves_no_terminal() {
        let shown = text(&message());
        let expected = "\
queue id      Q1
sender        <>
account       ann
accepted      2026-05-28T20:26:40Z
octets        20
body          8BITMIME
ret           HDRS
recipient     <bob@example.net>
  state       deferred, 1 attempt, next 2026-05-28T20:26:40Z
  last        4.2.0 busy\\u{1b}[2J
  notify      NEVER
  delay told  2026-05-28T20:26:40Z
header
  Subject: \\u{1b}[2J
      x\u{fffd}
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_program_reads_all_of_it() {
        let object = object(&message());
        assert_eq!(object["ret"], "HDRS");
        assert_eq!(object["recipients"][0]["notify"], "NEVER");
        assert_eq!(object["recipients"][0]["state"], "deferred");
        assert_eq!(
            object["header"],
            "Subject: \u{1b}[2J\r\n\tx\u{fffd}\r\n\r\n"
        );
    }
}
