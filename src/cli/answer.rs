//! What a command says: to a person a text, to a program one JSON object a line.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde_json::Value;

use crate::server::logging::escape;

/// Both forms of one answer.
#[derive(Debug)]
pub struct Answer {
    /// Lines for a person.
    pub text: String,
    /// Objects for a program; none where there is nothing to list.
    pub objects: Vec<Value>,
}

impl Answer {
    /// One thing was done, told in the past tense; `object` says the same.
    pub fn done(text: String, object: Value) -> Self {
        Answer {
            text: text + "\n",
            objects: vec![object],
        }
    }

    /// Writes the form that was asked for to standard output.
    ///
    /// # Errors
    /// What the system says; a reader that has gone away is no fault.
    pub fn print(&self, json: bool) -> io::Result<()> {
        let lines;
        let text = match json {
            true => {
                let objects = self.objects.iter();
                lines = objects
                    .map(|object| ascii(&object.to_string()) + "\n")
                    .collect::<String>();
                &lines
            }
            false => &self.text,
        };
        print(text)
    }
}

/// JSON in ASCII: a terminal that shows it obeys no control or direction mark (S22).
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && !c.is_control() {
            out.push(c);
            continue;
        }
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

/// Writes to standard output; a reader that has gone away is no fault.
///
/// # Errors
/// What the system says.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Aligned columns under a heading. Values are made harmless for a terminal (S22).
pub fn columns<const N: usize>(
    heading: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heading);
    for row in rows {
        table.add_row(row.map(|value| escape(&value)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.to_string();
    lines
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S22.
    #[test]
    fn json_moves_no_terminal_and_reads_the_same() {
        let object = serde_json::json!({ "said": "\u{9b}31m \u{202e} gr\u{fc}n \u{1f600} \u{7f}" });
        let written = ascii(&object.to_string());
        assert!(
            written.bytes().all(|octet| (b' '..=b'~').contains(&octet)),
            "{written}"
        );
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), object);
    }

    #[test]
    fn columns_stand_under_each_other_and_move_no_terminal() {
        let rows = [
            ["a".into(), "x\u{1b}[2J".into()],
            ["long one".into(), String::new()],
        ];
        assert_eq!(
            columns(["NAME", "WHAT"], rows.into_iter()),
            "NAME      WHAT\na         x\\u{1b}[2J\nlong one\n"
        );
        assert_eq!(columns(["NAME"], std::iter::empty()), "NAME\n");
    }
}
