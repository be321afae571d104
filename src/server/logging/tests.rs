//! What a line looks like, and what becomes of it.

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
            values.fields.push(("name", escape(&text).into()));
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

/// A layer whose writer stands still until the receiver is emptied.
fn layer(format: LogFormat, room: usize) -> (Lines, std::sync::mpsc::Receiver<Entry>) {
    let (lines, waiting) = sync_channel(room);
    let dropped = AtomicU64::new(0);
    let layer = Lines {
        format,
        lines,
        dropped,
    };
    (layer, waiting)
}

fn line(waiting: &std::sync::mpsc::Receiver<Entry>) -> Option<String> {
    match waiting.try_recv() {
        Ok(Entry::Line(line)) => Some(line),
        Ok(Entry::Flush(_)) | Err(_) => None,
    }
}

#[test]
fn a_writer_that_stands_still_holds_nobody_up_and_the_loss_is_counted() {
    let (layer, waiting) = layer(LogFormat::Text, 2);
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        for n in 0..10 {
            tracing::info!(n, "said");
        }
        assert!(line(&waiting).unwrap().ends_with("said n=0\n"));
        assert!(line(&waiting).unwrap().ends_with("said n=1\n"));
        assert!(line(&waiting).is_none());
        tracing::info!("after");
        assert!(line(&waiting).unwrap().ends_with("after lines_dropped=8\n"));
        tracing::info!("later");
        assert!(line(&waiting).unwrap().ends_with("later\n"));
    });
}

/// S22: through the whole layer, however a value is given.
#[test]
fn a_value_from_the_network_stays_one_value() {
    for format in [LogFormat::Text, LogFormat::Json] {
        let (layer, waiting) = layer(format, 8);
        let subscriber = tracing_subscriber::registry().with(layer);
        let name = "a\r\n2026 ERROR forged=1\u{1b}[31m\u{202e}\" x=\"";
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(name, count = 7, good = true, "said");
            tracing::info!(%name, "said");
            tracing::info!(?name, "said");
        });
        for n in 0..3 {
            let line = line(&waiting).unwrap();
            assert_eq!(
                line.matches(['\n', '\r', '\u{1b}', '\u{202e}']).count(),
                1,
                "{line}"
            );
            if let LogFormat::Json = format {
                let object: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(object["message"], "said");
                if n == 0 {
                    assert_eq!(
                        (&object["count"], &object["good"]),
                        (&7.into(), &true.into())
                    );
                }
                assert!(object["forged"].is_null() && object["x"].is_null());
            } else {
                assert!(!line.contains("\" x=\""), "{line}");
                assert_eq!(line.contains("count=7 good=true"), n == 0, "{line}");
            }
        }
    }
}

#[test]
fn a_flush_returns_when_all_before_is_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines = writer(file.reopen().unwrap()).unwrap();
    for n in 0..100 {
        lines.send(Entry::Line(format!("{n}\n"))).unwrap();
    }
    let (done, written) = sync_channel(1);
    lines.send(Entry::Flush(done)).unwrap();
    written.recv_timeout(Duration::from_secs(30)).unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(text.lines().count(), 100);
}

#[test]
fn a_long_value_ends_after_a_kibibyte() {
    for text in ["x".repeat(5000), "\u{e9}".repeat(5000), "\r".repeat(5000)] {
        assert!(escape(&text).len() <= VALUE_MAX + 3);
    }
    assert_eq!(escape(&"x".repeat(VALUE_MAX)), "x".repeat(VALUE_MAX));
}
