//! The walk through a message's structure (RFC 2046 §5.1), in pieces of any size and without
//! recursion.
//!
//! ```text
//!            blank line                    delimiter
//!  Header ───────────────► Content ─────────────────────► Header of the next part
//!    ▲  │ delimiter           │ closing delimiter
//!    │  └──► (empty content)  └──────────────────────────► Content: epilogue
//!    └── a message inside begins directly behind its part's header
//! ```
//!
//! A line end is held back until the line behind it is known to be no delimiter, for before one it
//! belongs to the delimiter. Only CRLF ends a line; a CR or LF alone is an octet like others.

use std::mem;

use memchr::memchr;

use super::{
    CannotConvert, DEPTH_MAX, PART_HEADER_MAX, PARTS_MAX,
    content_type::BOUNDARY_MAX,
    entity::{Entity, Nature, Place},
};

/// Octets of a line that is held back until it is known to be a delimiter or none.
const DELIMITER_MAX: usize = BOUNDARY_MAX + 256;

/// A stretch of content; entities are counted in the order of their headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Area {
    /// What stands behind the header of this entity: before the first part where it has parts.
    Body(usize),
    /// What stands behind the last part of this entity.
    Epilogue(usize),
}

/// The end of a stretch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// A delimiter follows, and the line end before it is its own.
    Delimiter,
    /// The message ends.
    Message,
}

/// Hears what the scanner meets. All octets together are those of the message.
pub(super) trait Sink {
    /// The next entity begins with `section`, its blank line included where it has one.
    fn entity(&mut self, entity: &Entity, parent: Option<usize>, section: &[u8]);
    /// Content of this stretch follows.
    fn area(&mut self, area: Area);
    /// Content within a line.
    fn text(&mut self, octets: &[u8]);
    /// The CRLF of a line of content.
    fn line_end(&mut self);
    /// The stretch is over.
    fn area_ends(&mut self, end: End);
    /// A delimiter of entity `of`, line ends included.
    fn delimiter(&mut self, of: usize, octets: &[u8]);
    /// From here on the structure is not sure.
    fn doubt(&mut self, why: CannotConvert);
}

/// A multipart whose end was not met.
#[derive(Debug)]
struct Open {
    entity: usize,
    boundary: Vec<u8>,
    is_digest: bool,
    /// Messages around it.
    messages: usize,
    /// Its closing delimiter was met.
    is_closed: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Header(Place),
    Content(Line),
    /// Beyond a limit: nothing is a delimiter.
    Opaque(Line),
}

/// Where in a line of content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Line {
    Start,
    /// In the hold, for it may be a delimiter.
    Held,
    /// It is content.
    Content,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Scanner {
    state: State,
    open: Vec<Open>,
    /// Messages around what comes next.
    messages: usize,
    entities: usize,
    /// The entity that the next one is in.
    parent: Option<usize>,
    /// A header section, or a line of content that may be a delimiter.
    hold: Vec<u8>,
    /// Where in a held section its last line begins.
    line_start: usize,
    holds_line_end: bool,
    holds_cr: bool,
}

impl Scanner {
    /// Begins with the message's own header section.
    pub(super) fn begin(section: &[u8], sink: &mut impl Sink) -> Self {
        let mut scanner = Scanner {
            state: State::Header(Place::Message),
            open: Vec::new(),
            messages: 0,
            entities: 0,
            parent: None,
            hold: section.to_vec(),
            line_start: 0,
            holds_line_end: false,
            holds_cr: false,
        };
        scanner.header_ends(Place::Message, Section::Whole, sink);
        scanner
    }

    /// Takes the next piece of what follows.
    pub(super) fn push(&mut self, mut piece: &[u8], sink: &mut impl Sink) {
        if self.holds_cr && !piece.is_empty() {
            self.holds_cr = false;
            if piece[0] == b'\n' {
                self.line_ends(sink);
                piece = &piece[1..];
            } else {
                self.octets(b"\r", sink);
            }
        }
        let (mut start, mut at) = (0, 0);
        while let Some(found) = memchr(b'\n', &piece[at..]) {
            at += found;
            if at > start && piece[at - 1] == b'\r' {
                self.octets(&piece[start..at - 1], sink);
                self.line_ends(sink);
                start = at + 1;
            }
            at += 1;
        }
        let mut rest = &piece[start..];
        if let [front @ .., b'\r'] = rest {
            rest = front;
            self.holds_cr = true;
        }
        self.octets(rest, sink);
    }

    /// The message ends here.
    pub(super) fn finish(mut self, sink: &mut impl Sink) {
        if mem::take(&mut self.holds_cr) {
            self.octets(b"\r", sink);
        }
        match self.state {
            State::Header(place) => self.header_ends(place, Section::Cut, sink),
            State::Content(Line::Held) => {
                if let Match::Delimiter { open, closes } = self.match_line(&self.hold) {
                    self.delimiter(open, closes, b"", sink);
                    if let State::Header(place) = self.state {
                        self.header_ends(place, Section::Cut, sink);
                    }
                } else {
                    self.let_go(sink);
                }
            }
            State::Content(_) | State::Opaque(_) => {}
        }
        if self.holds_line_end {
            sink.line_end();
        }
        sink.area_ends(End::Message);
    }

    fn octets(&mut self, octets: &[u8], sink: &mut impl Sink) {
        let Some(first) = octets.first() else { return };
        match self.state {
            State::Header(_) => {
                self.hold.extend_from_slice(octets);
                self.limit_header(sink);
            }
            State::Content(Line::Start) if !self.open.is_empty() && *first == b'-' => {
                self.hold.extend_from_slice(octets);
                self.state = State::Content(Line::Held);
                self.look_at_held(sink);
            }
            State::Content(Line::Held) => {
                self.hold.extend_from_slice(octets);
                self.look_at_held(sink);
            }
            State::Content(Line::Start) => {
                self.state = State::Content(Line::Content);
                self.text(octets, sink);
            }
            State::Opaque(Line::Start) => {
                self.state = State::Opaque(Line::Content);
                self.text(octets, sink);
            }
            State::Content(Line::Content) | State::Opaque(_) => sink.text(octets),
        }
    }

    fn text(&mut self, octets: &[u8], sink: &mut impl Sink) {
        if mem::take(&mut self.holds_line_end) {
            sink.line_end();
        }
        sink.text(octets);
    }

    /// Lets a held line go as soon as it cannot be a delimiter.
    fn look_at_held(&mut self, sink: &mut impl Sink) {
        let is_candidate = self.hold.starts_with(b"--") || self.hold == b"-";
        if !is_candidate || self.hold.len() > DELIMITER_MAX {
            self.let_go(sink);
        }
    }

    fn let_go(&mut self, sink: &mut impl Sink) {
        if self.match_line(&self.hold) != Match::Nothing {
            sink.doubt(CannotConvert::Structure);
        }
        self.state = State::Content(Line::Content);
        let mut line = mem::take(&mut self.hold);
        self.text(&line, sink);
        line.clear();
        self.hold = line;
    }

    fn line_ends(&mut self, sink: &mut impl Sink) {
        match self.state {
            State::Header(place) => return self.header_line_ends(place, sink),
            State::Content(Line::Held) => {
                if let Match::Delimiter { open, closes } = self.match_line(&self.hold) {
                    return self.delimiter(open, closes, b"\r\n", sink);
                }
                self.let_go(sink);
                self.state = State::Content(Line::Start);
            }
            State::Content(_) => self.state = State::Content(Line::Start),
            State::Opaque(_) => self.state = State::Opaque(Line::Start),
        }
        if mem::replace(&mut self.holds_line_end, true) {
            sink.line_end();
        }
    }

    fn header_line_ends(&mut self, place: Place, sink: &mut impl Sink) {
        let line = &self.hold[self.line_start..];
        if line.is_empty() {
            self.hold.extend_from_slice(b"\r\n");
            return self.header_ends(place, Section::Whole, sink);
        }
        match self.match_line(line) {
            // The blank line is missing, and with it the content.
            Match::Delimiter { open, closes } => {
                let line = self.hold.split_off(self.line_start);
                self.header_ends(place, Section::Cut, sink);
                self.hold = line;
                return self.delimiter(open, closes, b"\r\n", sink);
            }
            Match::Similar => sink.doubt(CannotConvert::Structure),
            Match::Nothing => {}
        }
        self.hold.extend_from_slice(b"\r\n");
        self.line_start = self.hold.len();
        self.limit_header(sink);
    }

    fn limit_header(&mut self, sink: &mut impl Sink) {
        if self.hold.len() > PART_HEADER_MAX {
            self.give_up(sink);
        }
    }

    /// Reads on as the content of one entity that is not understood.
    fn give_up(&mut self, sink: &mut impl Sink) {
        sink.doubt(CannotConvert::TooComplex);
        sink.area(Area::Body(0));
        self.state = State::Opaque(Line::Start);
        self.line_start = 0;
        let held = mem::take(&mut self.hold);
        self.push(&held, sink);
    }

    fn header_ends(&mut self, place: Place, section: Section, sink: &mut impl Sink) {
        let number = self.entities;
        if number == PARTS_MAX || self.open.len() + self.messages >= DEPTH_MAX {
            return self.give_up(sink);
        }
        let mut entity = Entity::read(&self.hold, place);
        if section == Section::Cut && entity.nature != Nature::Text {
            entity.nature = Nature::Data;
        }
        sink.entity(&entity, self.parent, &self.hold);
        self.entities += 1;
        self.hold.clear();
        self.line_start = 0;
        if entity.nature == Nature::Message {
            self.messages += 1;
            self.parent = Some(number);
            self.state = State::Header(Place::Message);
            return;
        }
        self.state = State::Content(Line::Start);
        sink.area(Area::Body(number));
        if let Nature::Multipart {
            boundary,
            is_digest,
        } = entity.nature
        {
            let is_mistakable = |other: &Open| {
                is_closing(&other.boundary, &boundary)
                    || is_closing(&boundary, &other.boundary)
                    || other.boundary == boundary
            };
            if self.open.iter().any(is_mistakable) {
                sink.doubt(CannotConvert::Structure);
            }
            self.open.push(Open {
                entity: number,
                boundary,
                is_digest,
                messages: self.messages,
                is_closed: false,
            });
        }
    }

    /// The hold is a delimiter of the multipart with this place in `open`, ended by `end`.
    fn delimiter(&mut self, open: usize, closes: bool, end: &[u8], sink: &mut impl Sink) {
        sink.area_ends(End::Delimiter);
        self.open.truncate(open + 1);
        let Some(multipart) = self.open.last_mut() else {
            return;
        };
        let before: &[u8] = if mem::take(&mut self.holds_line_end) {
            b"\r\n"
        } else {
            b""
        };
        let line = mem::take(&mut self.hold);
        sink.delimiter(multipart.entity, &[before, &line, end].concat());
        self.messages = multipart.messages;
        self.parent = Some(multipart.entity);
        self.line_start = 0;
        if closes {
            multipart.is_closed = true;
            sink.area(Area::Epilogue(multipart.entity));
            self.state = State::Content(Line::Start);
        } else if multipart.is_digest {
            self.state = State::Header(Place::DigestPart);
        } else {
            self.state = State::Header(Place::Part);
        }
    }

    /// What a line is to the multiparts that are open, the innermost first.
    fn match_line(&self, line: &[u8]) -> Match {
        let Some(text) = line.strip_prefix(b"--") else {
            return Match::Nothing;
        };
        let mut trimmed = text;
        while let [front @ .., b' ' | b'\t'] = trimmed {
            trimmed = front;
        }
        for (at, open) in self.open.iter().enumerate().rev() {
            let closes = is_closing(trimmed, &open.boundary);
            if (closes || trimmed == open.boundary) && !open.is_closed {
                return Match::Delimiter { open: at, closes };
            }
        }
        // RFC 2046 §5.1.1 lets readers compare the beginning of the line alone, and some look for
        // parts behind the closing delimiter.
        if self
            .open
            .iter()
            .any(|open| text.starts_with(&open.boundary))
        {
            return Match::Similar;
        }
        Match::Nothing
    }
}

/// Whether a section has all that belongs to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Section {
    /// Its blank line is there.
    Whole,
    /// A delimiter or the end came first; there is no content.
    Cut,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Match {
    Delimiter {
        open: usize,
        closes: bool,
    },
    /// A delimiter to some readers.
    Similar,
    Nothing,
}

fn is_closing(line: &[u8], boundary: &[u8]) -> bool {
    line.strip_suffix(b"--") == Some(boundary)
}
