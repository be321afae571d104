//! Long lines: the parts that hold them are encoded before custody (RFC 6409 §8.4).
//!
//! The body was taken as it came. It is read twice, off the reactor, from where it lies: once to
//! learn what must change, once to write the copy that takes its place.

use std::io::{self, Read};

use tokio::task::spawn_blocking;

use super::Refusal;
use crate::{
    message::{Goal, Recoder, Recoding, Survey},
    spool::{Body, CustodyError, Spool, StoredBody},
};

/// Octets read at once.
const PIECE: usize = 256 * 1024;

/// A message on its way into custody.
pub(super) struct Finished {
    /// The finished section with its blank line.
    pub(super) header: Vec<u8>,
    pub(super) body: Body,
    /// The body holds octets above 127.
    pub(super) eight_bit: bool,
}

/// The same message without lines over 998 octets.
pub(super) async fn encode(spool: &Spool, message: Finished) -> Result<Finished, Refusal> {
    let Finished {
        header,
        body,
        eight_bit,
    } = message;
    let source = spool.place_of(&body);
    let first = source.clone();
    let (header, recoding) = blocking(move || survey(header, &first)).await??;
    let Some(recoding) = recoding else {
        return Ok(Finished {
            header,
            body,
            eight_bit,
        });
    };
    let eight_bit = recoding.is_eight_bit();
    let mut copy = spool.body();
    let begin = move || Writing::begin(&source, recoding, &header);
    let (header, mut writing) = blocking(begin).await??;
    let mut out = Vec::new();
    loop {
        let (more, piece) = blocking(move || writing.step(out)).await??;
        copy.write(&piece).await?;
        let Some(more) = more else { break };
        writing = more;
        out = piece;
    }
    // The body as it came goes with its last reader.
    drop(body);
    Ok(Finished {
        header,
        body: copy.finish().await?,
        eight_bit,
    })
}

/// Runs `work` off the reactor; a panic in it ends this message and nothing else (S19).
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    spawn_blocking(work).await.map_err(|_| Refusal::Panicked)
}

fn survey(header: Vec<u8>, source: &StoredBody) -> Result<(Vec<u8>, Option<Recoding>), Refusal> {
    let mut survey = Survey::new(Goal::ShortLines, &header);
    let mut reader = source.open().map_err(failed)?;
    let mut piece = vec![0; PIECE];
    loop {
        let count = read(&mut reader, &mut piece)?;
        if count == 0 {
            break;
        }
        survey.push(&piece[..count]);
    }
    Ok((header, survey.finish()?))
}

/// The copy under way.
struct Writing {
    reader: Box<dyn Read + Send>,
    piece: Vec<u8>,
    recoder: Recoder,
}

impl Writing {
    /// Begins with the header section; returns the copy's.
    fn begin(
        source: &StoredBody,
        recoding: Recoding,
        header: &[u8],
    ) -> Result<(Vec<u8>, Self), Refusal> {
        let (header, recoder) = Recoder::new(recoding, header);
        let writing = Writing {
            reader: source.open().map_err(failed)?,
            piece: vec![0; PIECE],
            recoder,
        };
        Ok((header, writing))
    }

    /// Fills `out` with the next piece of the copy; the last one leaves nothing to go on with.
    fn step(mut self, mut out: Vec<u8>) -> Result<(Option<Self>, Vec<u8>), Refusal> {
        out.clear();
        let count = read(&mut self.reader, &mut self.piece)?;
        if count == 0 {
            self.recoder.finish(&mut out);
            return Ok((None, out));
        }
        self.recoder.push(&self.piece[..count], &mut out);
        Ok((Some(self), out))
    }
}

fn read(reader: &mut impl Read, piece: &mut [u8]) -> Result<usize, Refusal> {
    loop {
        match reader.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(failed),
        }
    }
}

fn failed(error: io::Error) -> Refusal {
    Refusal::Custody(CustodyError::Failed(format!("body file: {error}")))
}
