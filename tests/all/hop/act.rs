//! Where a scripted next hop may go wrong, and how.

/// What a reply is due to. A BDAT chunk counts as `Data`, the last one as `EndOfData`; LMTP has an
/// `EndOfData` for every recipient; `SignIn` is the reply that ends an AUTH exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    Greeting,
    Hello,
    StartTls,
    /// No reply but what answers the client's first octets.
    Handshake,
    SignIn,
    Mail,
    Rcpt,
    Data,
    EndOfData,
    Reset,
    Quit,
}

/// What is done in the place of a reply.
#[derive(Clone, Debug)]
pub enum Act {
    /// Nothing is said; what comes is read and noted.
    Hang,
    /// Nothing is said, nothing is read.
    StopReading,
    /// The connection ends without a word, within TLS too.
    Close,
    /// The connection ends with a reset.
    Reset,
    /// Half of what was due, then the end.
    HalfReply,
    /// These octets. What begins with 2 or 3 takes the command, anything else refuses it.
    Say(Vec<u8>),
    /// These octets, then the end.
    SayAndClose(Vec<u8>),
    /// Lines of a reply with this code that has no last one.
    Endless(&'static str),
}

impl Act {
    /// A reply of one line.
    pub fn reply(line: &str) -> Act {
        Act::Say(format!("{line}\r\n").into())
    }

    /// A reply of one line, then the end.
    pub fn last(line: &str) -> Act {
        Act::SayAndClose(format!("{line}\r\n").into())
    }

    /// A reply of so many lines.
    pub fn lines(code: &str, count: usize) -> Act {
        let mut text: String = (1..count).map(|n| format!("{code}-line {n}\r\n")).collect();
        text += &format!("{code} line {count}\r\n");
        Act::Say(text.into())
    }

    /// A reply of one line with so much text.
    pub fn long_line(code: &str, octets: usize) -> Act {
        Act::reply(&format!("{code} {}", "x".repeat(octets)))
    }

    /// What is no reply at all.
    pub fn nonsense() -> Act {
        Act::Say(b"<html>It works!</html>\r\n".to_vec())
    }

    /// A reply that would paint a terminal red, end a string, break a line and be no UTF-8.
    pub fn control_octets(code: &str) -> Act {
        let text = b" \x1b[31mred\x1b[0m\0bell\x07\nforged line\x7f\x9b1m caf\xe9 \xff\xfe\r\n";
        Act::Say([code.as_bytes(), text].concat())
    }
}
