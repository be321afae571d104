//! The first pass: what a message is made of, and what of it must change.

use super::{
    CannotConvert, Goal, Recoding,
    content_type::Label,
    entity::{Entity, Nature},
    quoted_printable::is_plain,
    recoder::{Fate, Treatment},
    scanner::{Area, End, Scanner, Sink},
};
use crate::smtp::LINE_MAX;

/// Reads a message to learn what must change.
///
/// Any division of the body into pieces gives the same result.
#[derive(Debug)]
pub struct Survey {
    goal: Goal,
    scanner: Scanner,
    found: Found,
}

impl Survey {
    /// Begins with the message's header section, its blank line included.
    pub fn new(goal: Goal, header: &[u8]) -> Self {
        let mut found = Found::default();
        let scanner = Scanner::begin(header, &mut found);
        Survey {
            goal,
            scanner,
            found,
        }
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) {
        self.scanner.push(piece, &mut self.found);
    }

    /// What is to be done; `None` where the message is as it should be.
    ///
    /// # Errors
    /// [`CannotConvert`] where something is not as it should be and cannot be changed.
    pub fn finish(mut self) -> Result<Option<Recoding>, CannotConvert> {
        self.scanner.finish(&mut self.found);
        self.found.decide(self.goal)
    }
}

/// What was seen of a stretch of content.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    /// Without line ends.
    octets: u64,
    /// Octets that quoted-printable escapes.
    escapes: u64,
    /// A line over 998 octets.
    is_long: bool,
    /// Octets above 127.
    is_eight_bit: bool,
    /// CR or LF alone, or NUL: no line may hold them (RFC 2045 §2.7).
    is_binary: bool,
    /// All of it is UTF-8; looked at only where that is asked for.
    is_utf8: bool,
}

impl Facts {
    fn must_change(&self, goal: Goal) -> bool {
        self.is_long || self.is_binary || goal == Goal::SevenBit && self.is_eight_bit
    }
}

#[derive(Debug)]
struct Part {
    entity: Entity,
    parent: Option<usize>,
    body: Facts,
    epilogue: Facts,
    /// A delimiter was met.
    has_parts: bool,
}

#[derive(Debug, Default)]
struct Found {
    parts: Vec<Part>,
    doubt: Option<CannotConvert>,
    area: Option<Area>,
    facts: Facts,
    line_octets: u64,
    /// Begins a character whose other octets are still to come; only where UTF-8 is asked for.
    character: Option<Vec<u8>>,
}

impl Found {
    fn decide(mut self, goal: Goal) -> Result<Option<Recoding>, CannotConvert> {
        let of_header = |entity: &Entity| {
            entity.long_header || goal == Goal::SevenBit && entity.eight_bit_header
        };
        let mut header_fault = false;
        let mut any = false;
        for part in &self.parts {
            header_fault |= of_header(&part.entity);
            any |= part.body.must_change(goal) || part.epilogue.must_change(goal);
            any |= part.is_mislabelled(goal);
        }
        if let Some(doubt) = self.doubt.filter(|_| any || header_fault) {
            return Err(doubt);
        }
        if header_fault {
            return Err(CannotConvert::PartHeader);
        }
        if !any {
            return Ok(None);
        }
        let mut fates = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            fates.push(part.fate(goal)?);
        }
        // Parents stand before their parts, so from the end each is complete when its turn comes.
        let mut is_eight_bit = vec![false; fates.len()];
        let mut is_changed = vec![false; fates.len()];
        for (at, part) in self.parts.drain(..).enumerate().rev() {
            let fate = &mut fates[at];
            let keeps =
                |treatment, facts: Facts| treatment == Treatment::Keep && facts.is_eight_bit;
            is_eight_bit[at] |= keeps(fate.body, part.body) || keeps(fate.epilogue, part.epilogue);
            is_changed[at] |= fate.body != Treatment::Keep || fate.epilogue != Treatment::Keep;
            is_changed[at] |= part.is_mislabelled(goal);
            if is_changed[at] && part.is_container() {
                fate.label = container_label(part.entity.label, goal, is_eight_bit[at]);
            }
            fate.adds_mime_version =
                fate.label.is_some() && part.entity.is_message && !part.entity.has_mime_version;
            if let Some(parent) = part.parent {
                is_eight_bit[parent] |= is_eight_bit[at] || part.entity.eight_bit_header;
                is_changed[parent] |= is_changed[at];
            }
        }
        Ok(Some(Recoding {
            fates,
            eight_bit: is_eight_bit.first().copied().unwrap_or_default(),
        }))
    }
}

impl Part {
    fn is_container(&self) -> bool {
        matches!(
            self.entity.nature,
            Nature::Multipart { .. } | Nature::Message
        )
    }

    /// Whether it says that it is binary where nothing may be (RFC 3030 §3).
    fn is_mislabelled(&self, goal: Goal) -> bool {
        goal == Goal::SevenBit && self.entity.label == Label::Binary
    }

    fn fate(&self, goal: Goal) -> Result<Fate, CannotConvert> {
        let mut fate = Fate::default();
        if self.epilogue.must_change(goal) {
            // Readers show nothing of it (RFC 2046 §5.1.1), and it bears no encoding.
            fate.epilogue = Treatment::Drop;
        }
        if !self.body.must_change(goal) {
            if self.is_mislabelled(goal) && !self.is_container() {
                fate.label = Some("7bit");
            }
            return Ok(fate);
        }
        fate.body = match (&self.entity.nature, self.entity.label) {
            (Nature::Closed(why), _) => return Err(*why),
            (Nature::Multipart { .. } | Nature::Message, _) if self.has_parts => Treatment::Drop,
            (Nature::Multipart { .. } | Nature::Message, _) => {
                return Err(CannotConvert::Structure);
            }
            (Nature::Text | Nature::Data, Label::Unclear) => {
                return Err(CannotConvert::UnknownEncoding);
            }
            (Nature::Text | Nature::Data, Label::QuotedPrintable) => Treatment::FoldQuotedPrintable,
            (Nature::Text | Nature::Data, Label::Base64) => Treatment::FoldBase64,
            // Up to here quoted-printable is shorter, and a person can read it.
            (Nature::Text, _)
                if !self.body.is_binary
                    && self.body.escapes.saturating_mul(6) <= self.body.octets =>
            {
                fate.label = Some("quoted-printable");
                Treatment::QuotedPrintable
            }
            (Nature::Text | Nature::Data, _) => {
                fate.label = Some("base64");
                Treatment::Base64
            }
        };
        if fate.label.is_some() && self.entity.is_message && !self.entity.has_type {
            fate.content_type = Some(if !self.body.is_eight_bit {
                "text/plain; charset=us-ascii"
            } else if self.body.is_utf8 {
                "text/plain; charset=utf-8"
            } else {
                // RFC 1428 §3: octets of a character set that nobody named.
                "text/plain; charset=unknown-8bit"
            });
        }
        Ok(fate)
    }
}

/// The label that a container must have to be true (RFC 2045 §6.2, §6.4); `None` where it is.
fn container_label(label: Label, goal: Goal, is_eight_bit: bool) -> Option<&'static str> {
    let truth = if is_eight_bit { "8bit" } else { "7bit" };
    match label {
        Label::Absent | Label::SevenBit => is_eight_bit.then_some(truth),
        Label::EightBit => (goal == Goal::SevenBit).then_some(truth),
        Label::Binary | Label::QuotedPrintable | Label::Base64 | Label::Unclear => Some(truth),
    }
}

impl Sink for Found {
    fn entity(&mut self, entity: &Entity, parent: Option<usize>, _section: &[u8]) {
        let mut entity = entity.clone();
        if let Nature::Multipart { boundary, .. } = &mut entity.nature {
            *boundary = Vec::new();
        }
        self.parts.push(Part {
            entity,
            parent,
            body: Facts::default(),
            epilogue: Facts::default(),
            has_parts: false,
        });
    }

    fn area(&mut self, area: Area) {
        self.keep_facts();
        self.area = Some(area);
        let untyped = |number: usize| {
            let entity = &self.parts[number].entity;
            entity.is_message && !entity.has_type
        };
        self.character = match area {
            Area::Body(number) if self.parts.get(number).is_some() && untyped(number) => {
                Some(Vec::new())
            }
            Area::Body(_) | Area::Epilogue(_) => None,
        };
        self.facts.is_utf8 = true;
    }

    fn text(&mut self, octets: &[u8]) {
        let length = octets.len() as u64;
        self.line_octets += length;
        self.facts.octets += length;
        self.facts.is_long |= self.line_octets > LINE_MAX as u64;
        let is_escaped = |octet: &&u8| !(is_plain(**octet) || matches!(**octet, b' ' | b'\t'));
        self.facts.escapes += octets.iter().filter(is_escaped).count() as u64;
        self.facts.is_eight_bit |= !octets.is_ascii();
        self.facts.is_binary |= memchr::memchr3(b'\r', b'\n', 0, octets).is_some();
        self.look_at_characters(octets);
    }

    fn line_end(&mut self) {
        self.line_octets = 0;
        self.characters_end();
    }

    fn area_ends(&mut self, _end: End) {
        self.keep_facts();
    }

    fn delimiter(&mut self, of: usize, _octets: &[u8]) {
        if let Some(part) = self.parts.get_mut(of) {
            part.has_parts = true;
        }
    }

    fn doubt(&mut self, why: CannotConvert) {
        self.doubt.get_or_insert(why);
    }
}

impl Found {
    fn keep_facts(&mut self) {
        self.characters_end();
        self.character = None;
        self.line_octets = 0;
        let facts = std::mem::take(&mut self.facts);
        let place = match self.area.take() {
            Some(Area::Body(number)) => self.parts.get_mut(number).map(|part| &mut part.body),
            Some(Area::Epilogue(number)) => {
                self.parts.get_mut(number).map(|part| &mut part.epilogue)
            }
            None => None,
        };
        if let Some(place) = place {
            // Beyond a limit one entity stands for all, so nothing seen of it may be lost.
            let must_keep = (place.is_long, place.is_eight_bit, place.is_binary);
            *place = facts;
            place.is_long |= must_keep.0;
            place.is_eight_bit |= must_keep.1;
            place.is_binary |= must_keep.2;
        }
    }

    fn look_at_characters(&mut self, mut octets: &[u8]) {
        let Some(begun) = &mut self.character else {
            return;
        };
        while !begun.is_empty() {
            let Some((first, rest)) = octets.split_first() else {
                return;
            };
            begun.push(*first);
            octets = rest;
            match str::from_utf8(begun) {
                Ok(_) => begun.clear(),
                Err(error) if error.error_len().is_none() => {}
                Err(_) => {
                    self.facts.is_utf8 = false;
                    begun.clear();
                }
            }
        }
        if let Err(error) = str::from_utf8(octets) {
            match error.error_len() {
                None => begun.extend_from_slice(&octets[error.valid_up_to()..]),
                Some(_) => self.facts.is_utf8 = false,
            }
        }
    }

    fn characters_end(&mut self) {
        if let Some(begun) = &mut self.character
            && !begun.is_empty()
        {
            self.facts.is_utf8 = false;
            begun.clear();
        }
    }
}
