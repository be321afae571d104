//! The second pass: the copy.

use super::{
    CannotConvert, Recoding, base64, edit,
    entity::Entity,
    quoted_printable,
    scanner::{Area, End, Scanner, Sink},
};

/// What becomes of a stretch of content.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Treatment {
    #[default]
    Keep,
    Drop,
    QuotedPrintable,
    Base64,
    /// It is quoted-printable, in lines too long or with raw octets.
    FoldQuotedPrintable,
    /// It is base64, in lines too long.
    FoldBase64,
}

/// What becomes of an entity.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Fate {
    pub body: Treatment,
    pub epilogue: Treatment,
    /// Its new Content-Transfer-Encoding.
    pub label: Option<&'static str>,
    /// Its new Content-Type, where it has none.
    pub content_type: Option<&'static str>,
    pub adds_mime_version: bool,
}

/// Writes the copy from the same octets that the [`Survey`](super::Survey) read.
///
/// Any division of the body into pieces gives the same copy.
#[derive(Debug)]
pub struct Recoder {
    scanner: Scanner,
    copy: Copy,
}

impl Recoder {
    /// Begins with the same header section; returns the copy's, its blank line included.
    pub fn new(recoding: Recoding, header: &[u8]) -> (Vec<u8>, Self) {
        let mut copy = Copy {
            recoding,
            met: 0,
            pen: Pen::Keep,
        };
        let mut out = Vec::with_capacity(header.len() + 128);
        let mut writer = Writer {
            copy: &mut copy,
            out: &mut out,
        };
        let scanner = Scanner::begin(header, &mut writer);
        (out, Recoder { scanner, copy })
    }

    /// Takes the next piece of the body and appends to `out` what of the copy is certain.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let copy = &mut self.copy;
        self.scanner.push(piece, &mut Writer { copy, out });
    }

    /// Appends what is left.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        let copy = &mut self.copy;
        self.scanner.finish(&mut Writer { copy, out });
    }
}

#[derive(Debug)]
struct Copy {
    recoding: Recoding,
    /// Entities met so far.
    met: usize,
    pen: Pen,
}

/// A treatment under way.
#[derive(Debug)]
enum Pen {
    Keep,
    Drop,
    QuotedPrintable(quoted_printable::Encoder),
    Base64(base64::Encoder),
    FoldQuotedPrintable(quoted_printable::Folder),
    FoldBase64(base64::Folder),
}

impl Copy {
    fn fate(&self, number: usize) -> Fate {
        // Octets other than those that were surveyed are copied as they are.
        let fate = self.recoding.fates.get(number);
        fate.copied().unwrap_or_default()
    }
}

struct Writer<'a> {
    copy: &'a mut Copy,
    out: &'a mut Vec<u8>,
}

impl Sink for Writer<'_> {
    fn entity(&mut self, _entity: &Entity, _parent: Option<usize>, section: &[u8]) {
        edit::write(section, &self.copy.fate(self.copy.met), self.out);
        self.copy.met += 1;
    }

    fn area(&mut self, area: Area) {
        let treatment = match area {
            Area::Body(number) => self.copy.fate(number).body,
            Area::Epilogue(number) => self.copy.fate(number).epilogue,
        };
        self.copy.pen = match treatment {
            Treatment::Keep => Pen::Keep,
            Treatment::Drop => Pen::Drop,
            Treatment::QuotedPrintable => Pen::QuotedPrintable(Default::default()),
            Treatment::Base64 => Pen::Base64(Default::default()),
            Treatment::FoldQuotedPrintable => Pen::FoldQuotedPrintable(Default::default()),
            Treatment::FoldBase64 => Pen::FoldBase64(Default::default()),
        };
    }

    fn text(&mut self, octets: &[u8]) {
        match &mut self.copy.pen {
            Pen::Keep => self.out.extend_from_slice(octets),
            Pen::Drop => {}
            Pen::QuotedPrintable(encoder) => encoder.text(octets, self.out),
            Pen::Base64(encoder) => encoder.octets(octets, self.out),
            Pen::FoldQuotedPrintable(folder) => folder.text(octets, self.out),
            Pen::FoldBase64(folder) => folder.octets(octets, self.out),
        }
    }

    fn line_end(&mut self) {
        match &mut self.copy.pen {
            Pen::Keep => self.out.extend_from_slice(b"\r\n"),
            Pen::QuotedPrintable(encoder) => encoder.line_end(self.out),
            Pen::Base64(encoder) => encoder.octets(b"\r\n", self.out),
            Pen::FoldQuotedPrintable(folder) => folder.line_end(self.out),
            // Our own lines replace these.
            Pen::Drop | Pen::FoldBase64(_) => {}
        }
    }

    fn area_ends(&mut self, end: End) {
        match &mut self.copy.pen {
            Pen::Keep | Pen::Drop => {}
            Pen::QuotedPrintable(encoder) => encoder.settle(self.out),
            Pen::FoldQuotedPrintable(folder) => folder.settle(self.out),
            Pen::Base64(encoder) => {
                encoder.settle(self.out);
                last_line(end, self.out);
            }
            Pen::FoldBase64(_) => last_line(end, self.out),
        }
        self.copy.pen = Pen::Keep;
    }

    fn delimiter(&mut self, _of: usize, octets: &[u8]) {
        self.out.extend_from_slice(octets);
    }

    fn doubt(&mut self, _why: CannotConvert) {}
}

/// The last line of a message ends like every other; before a delimiter it has its line end.
fn last_line(end: End, out: &mut Vec<u8>) {
    if end == End::Message {
        out.extend_from_slice(b"\r\n");
    }
}
