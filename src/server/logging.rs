//! Logs to standard error: off the hot path, and with nothing raw from the network in them (S22).
//!
//! Every line passes [`escape`] value by value before it is put together; a thread of its own
//! writes. When that thread falls behind, lines are dropped and counted, and no session waits.

use std::{
    fmt::{self, Write as _},
    io::Write,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
    time::{Duration, SystemTime},
};

use serde_json::Value;
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

/// How long the end of the process waits for standard error to take what is written.
const FLUSH: Duration = Duration::from_secs(2);

/// What the writing thread is given.
enum Entry {
    Line(String),
    /// Answer when everything before is written.
    Flush(SyncSender<()>),
}

static WRITER: OnceLock<SyncSender<Entry>> = OnceLock::new();

/// Begins logging; a second call in one process changes nothing.
pub fn start(format: LogFormat, level: &str) {
    let Ok(lines) = writer(std::io::stderr()) else {
        return;
    };
    let lines = WRITER.get_or_init(|| lines).clone();
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

/// Waits, for a while, until every line so far is written: the last thing a process does.
pub fn flush() {
    let Some(lines) = WRITER.get() else { return };
    let (done, written) = sync_channel(1);
    if lines.send(Entry::Flush(done)).is_ok() {
        let _ = written.recv_timeout(FLUSH);
    }
}

/// A thread that writes what comes, as it comes.
fn writer(mut out: impl Write + Send + 'static) -> std::io::Result<SyncSender<Entry>> {
    let (lines, waiting) = sync_channel(LINES_WAITING);
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || {
            for entry in waiting {
                match entry {
                    // Where standard error is gone there is nobody left to tell.
                    Entry::Line(line) => drop(out.write_all(line.as_bytes())),
                    Entry::Flush(done) => drop(out.flush().map(|()| done.try_send(()))),
                }
            }
        })?;
    Ok(lines)
}

struct Lines {
    format: LogFormat,
    lines: SyncSender<Entry>,
    dropped: AtomicU64,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut values = Values::default();
        event.record(&mut values);
        let meta = event.metadata();
        let dropped = self.dropped.swap(0, Relaxed);
        if dropped > 0 {
            values.fields.push(("lines_dropped", dropped.into()));
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
        if self.lines.try_send(Entry::Line(line)).is_err() {
            self.dropped.fetch_add(dropped + 1, Relaxed);
        }
    }
}

#[derive(Default)]
struct Values {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Values {
    fn take(&mut self, field: &Field, value: &str) {
        let value = escape(value);
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value.into())),
        }
    }
}

impl Visit for Values {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.push((field.name(), value.into()));
    }

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
                object.insert((*name).to_owned(), value.clone());
            }
            Value::Object(object).to_string() + "\n"
        }
        LogFormat::Text => {
            let mut line = format!("{at} {level:5} {}", values.message);
            for (name, value) in &values.fields {
                let shown = value.to_string();
                let value = value.as_str().unwrap_or(&shown);
                // Quoted where a reader could take the value for something else; within the quotes
                // no quote ends it early.
                let plain = !value.is_empty() && !value.contains([' ', '"', '=']);
                let _ = match plain {
                    true => write!(line, " {name}={value}"),
                    false => write!(line, " {name}=\"{}\"", value.replace('"', "\\u{22}")),
                };
            }
            line + "\n"
        }
    }
}

/// Makes a value harmless: what moves a cursor or the direction of reading is shown as `\u{…}`,
/// and the value ends after one KiB.
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
mod tests;
