//! Logs to standard error: off the hot path, and with nothing raw from the network in them (S22).
//!
//! Every line passes [`escape`] value by value before it is put together; a thread of its own
//! writes. When that thread falls behind, lines are dropped and counted, and no session waits.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
    time::SystemTime,
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::LevelFilter,
    layer::{Context, Layer, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::config::LogFormat;

/// Octets of one value at most.
const VALUE_MAX: usize = 1024;
/// Lines that may wait for the writer.
const LINES_WAITING: usize = 8192;

/// Begins logging; a second call in one process changes nothing.
pub fn start(format: LogFormat, level: &str) {
    let (lines, waiting) = sync_channel::<String>(LINES_WAITING);
    let spawned = std::thread::Builder::new()
        .name("log".into())
        .spawn(move || {
            for line in waiting {
                // Where standard error is gone there is nobody left to tell.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
        });
    if spawned.is_err() {
        return;
    }
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::INFO);
    let layer = Lines {
        format,
        lines,
        dropped: AtomicU64::new(0),
    };
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(level))
        .try_init();
}

struct Lines {
    format: LogFormat,
    lines: SyncSender<String>,
    dropped: AtomicU64,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut values = Values::default();
        event.record(&mut values);
        let meta = event.metadata();
        let dropped = self.dropped.swap(0, Relaxed);
        if dropped > 0 {
            values.fields.push(("lines_dropped", dropped.to_string()));
        }
        let now =
            jiff::Timestamp::try_from(SystemTime::now()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let line = write_line(
            self.format,
            &now.to_string(),
            *meta.level(),
            meta.target(),
            &values,
        );
        if self.lines.try_send(line).is_err() {
            self.dropped.fetch_add(dropped + 1, Relaxed);
        }
    }
}

#[derive(Default)]
struct Values {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Values {
    fn take(&mut self, field: &Field, value: &str) {
        let value = escape(value);
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Values {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, &format!("{value:?}"));
    }
}

fn write_line(format: LogFormat, at: &str, level: Level, target: &str, values: &Values) -> String {
    match format {
        LogFormat::Json => {
            let mut object = serde_json::Map::new();
            for (name, value) in [("time", at), ("level", level.as_str()), ("target", target)] {
                object.insert(name.to_owned(), value.into());
            }
            object.insert("message".to_owned(), values.message.as_str().into());
            for (name, value) in &values.fields {
                object.insert((*name).to_owned(), value.as_str().into());
            }
            serde_json::Value::Object(object).to_string() + "\n"
        }
        LogFormat::Text => {
            let mut line = format!("{at} {level:5} {}", values.message);
            for (name, value) in &values.fields {
                // Quoted where a reader could take the value for something else.
                let plain = !value.is_empty() && !value.contains([' ', '"', '=']);
                let _ = match plain {
                    true => write!(line, " {name}={value}"),
                    false => write!(line, " {name}=\"{}\"", value.replace('"', "\\\"")),
                };
            }
            line + "\n"
        }
    }
}

/// Makes a value harmless: what moves a cursor or the direction of reading is shown as `\u{…}`,
/// and the value ends after [`VALUE_MAX`] octets.
pub fn escape(value: &str) -> String {
    let mut safe = String::with_capacity(value.len().min(VALUE_MAX));
    for c in value.chars() {
        let before = safe.len();
        match c {
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
            }
            c => safe.push(c),
        }
        if safe.len() > VALUE_MAX {
            safe.truncate(before);
            safe.push('\u{2026}');
            break;
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S22.
    #[test]
    fn nothing_from_the_network_moves_a_terminal() {
        let marks = (0u32..0x20)
            .chain(0x7f..=0x9f)
            .chain([0x2028, 0x2029])
            .chain(0x202a..=0x202e)
            .chain(0x2066..=0x2069);
        let mut tried = 0;
        for c in marks.filter_map(char::from_u32) {
            for text in [format!("{c}"), format!("a{c}[31mb")] {
                assert!(!escape(&text).contains(c), "{:x}", u32::from(c));
                let mut values = Values {
                    message: "said".into(),
                    ..Values::default()
                };
                values.fields.push(("name", escape(&text)));
                for format in [LogFormat::Text, LogFormat::Json] {
                    let line = write_line(format, "t", Level::INFO, "x", &values);
                    assert_eq!(line.matches('\n').count(), 1);
                    assert!(line.ends_with('\n') && !line.trim_end_matches('\n').contains(c));
                }
                tried += 1;
            }
        }
        assert!(tried >= 130, "{tried}");
        assert_eq!(escape("J\u{fc}rgen \u{1f600}"), "J\u{fc}rgen \u{1f600}");
    }

    #[test]
    fn a_long_value_ends_after_a_kibibyte() {
        for text in ["x".repeat(5000), "\u{e9}".repeat(5000), "\r".repeat(5000)] {
            assert!(escape(&text).len() <= VALUE_MAX + 3);
        }
        assert_eq!(escape(&"x".repeat(VALUE_MAX)), "x".repeat(VALUE_MAX));
    }
}
