//! A message as one next hop is to see it: envelope, parameters, and a 7-bit copy where it takes no
//! other.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use tokio::task::spawn_blocking;

use crate::{
    client::{Extensions, Message, ParameterValue, Recipient},
    deliver::{Attempt, hop::Hops},
    dkim::{Dkim, SignError, unsigned},
    envelope::{BodyType, TlsWish},
    message::{CannotConvert, Goal, Recoder, Survey},
    smtp::ByMode,
    spool::{Content, DueRecipient, StoredBody},
};

/// Octets of a body whose copy is held in memory; that of a longer one goes through a file.
const IN_MEMORY: u64 = 256 * 1024;
/// Octets read at once.
const PIECE: usize = 128 * 1024;

/// Envelope and parameters for these recipients, as far as a hop that offers this can carry them.
pub(super) fn message(
    attempt: &Attempt,
    recipients: &[DueRecipient],
    content: &Content,
    body: BodyType,
    extensions: &Extensions,
) -> Message {
    let value = |text: String| ParameterValue::parse(&text);
    let now = SystemTime::now();
    let deadline = attempt.timing.deadline;
    // Who is not told of the deadline tells at least of delays (RFC 2852 §4.1.4.2).
    let wants_delays = extensions.deliver_by.is_none()
        && deadline.is_some_and(|it| it.mode == ByMode::Notify && !it.is_over(now));
    let recipients = recipients.iter().map(|recipient| Recipient {
        mailbox: recipient.address.clone(),
        notify: match (recipient.notify, wants_delays) {
            (None, true) => value("FAILURE,DELAY".to_owned()),
            (Some(notify), true) => value(notify.with_delay().to_string()),
            (notify, false) => notify.and_then(|notify| value(notify.to_string())),
        },
        orcpt: recipient.original.as_ref().and_then(|original| {
            // RFC 6533 §3: the 7-bit form where SMTPUTF8 is not offered.
            match extensions.smtputf8 {
                true => value(original.as_str().to_owned()),
                false => value(original.to_ascii().into_owned()),
            }
        }),
    });
    Message {
        sender: attempt.sender.clone(),
        recipients: recipients.collect(),
        size_octets: content.header.len() as u64 + content.body.len(),
        body,
        utf8_header: !content.header.is_ascii(),
        ret: attempt.ret.and_then(|ret| value(ret.to_string())),
        envid: attempt
            .envelope_id
            .as_ref()
            .and_then(|id| value(id.as_str().to_owned())),
        requiretls: attempt.protection.tls == TlsWish::Required,
        by: deadline.map(|it| it.left(now)),
        priority: attempt.timing.priority,
    }
}

/// Why there is no 7-bit copy.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// There never will be.
    #[error("{0}")]
    Cannot(#[from] CannotConvert),
    /// Perhaps later.
    #[error("7-bit copy not made: {0}")]
    Io(#[from] io::Error),
    /// Perhaps later.
    #[error("7-bit copy not made: {0}")]
    Signature(#[from] SignError),
    /// A fault of ours (S19).
    #[error("7-bit copy not made: internal error")]
    Panicked,
}

/// A copy of lines without octets above 127 (RFC 6152 §3, RFC 3030 §3); gone when the last clone is.
#[derive(Clone)]
pub(in crate::deliver) struct SevenBit {
    pub(in crate::deliver) content: Content,
    _scratch: Option<Arc<Scratch>>,
}

/// Makes the copy off the reactor; a body of any size takes little memory.
///
/// The signatures that were made over the original come off, and the copy is signed anew.
pub(super) async fn seven_bit(content: &Content, hops: &Hops) -> Result<SevenBit, CopyError> {
    let content = content.clone();
    let (scratch, dkim) = (hops.options.scratch.clone(), hops.dkim.clone());
    match spawn_blocking(move || copy(content, &scratch, &dkim)).await {
        Ok(copied) => copied,
        Err(_) => Err(CopyError::Panicked),
    }
}

fn copy(content: Content, scratch: &Path, dkim: &Dkim) -> Result<SevenBit, CopyError> {
    let mut survey = Survey::new(Goal::SevenBit, &content.header);
    pieces(&content.body, |piece| {
        survey.push(piece);
        Ok(())
    })?;
    let Some(recoding) = survey.finish()? else {
        // Nothing in it is above 127, whatever was declared.
        return Ok(SevenBit {
            content,
            _scratch: None,
        });
    };
    let (header, recoder) = Recoder::new(recoding, unsigned(&content.header));
    let (body, scratch) = match content.body.len() > IN_MEMORY {
        true => body_in_file(&content.body, recoder, scratch)?,
        false => (body_in_memory(&content.body, recoder)?, None),
    };
    let signers = dkim.signers(&header);
    let header = match signers.is_empty() {
        true => header,
        false => signers.sign(&header, &mut *body.open()?)?,
    };
    Ok(SevenBit {
        content: Content {
            header: header.into(),
            body,
        },
        _scratch: scratch,
    })
}

fn body_in_memory(original: &StoredBody, mut recoder: Recoder) -> io::Result<StoredBody> {
    let mut body = Vec::new();
    pieces(original, |piece| {
        recoder.push(piece, &mut body);
        Ok(())
    })?;
    recoder.finish(&mut body);
    Ok(StoredBody::Memory(body.into()))
}

fn body_in_file(
    original: &StoredBody,
    mut recoder: Recoder,
    scratch: &Path,
) -> io::Result<(StoredBody, Option<Arc<Scratch>>)> {
    let (scratch, mut file) = Scratch::create(scratch)?;
    let (mut out, mut octets) = (Vec::new(), 0);
    let mut write = |out: &mut Vec<u8>| {
        octets += out.len() as u64;
        let written = file.write_all(out);
        out.clear();
        written
    };
    pieces(original, |piece| {
        recoder.push(piece, &mut out);
        write(&mut out)
    })?;
    recoder.finish(&mut out);
    write(&mut out)?;
    let body = StoredBody::File {
        path: scratch.0.clone(),
        octets,
    };
    Ok((body, Some(Arc::new(scratch))))
}

/// Hands a body over in pieces.
fn pieces(body: &StoredBody, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut reader = body.open()?;
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => take(&piece[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A file that is of use to this process only, and not for long.
struct Scratch(PathBuf);

impl Scratch {
    fn create(directory: &Path) -> io::Result<(Self, File)> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let path = directory.join(ulid::Ulid::generate().to_string());
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok((Scratch(path), file))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind goes at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// Removes what a process before this one left behind.
pub(super) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        // Others' files are none of our business.
        if name.to_string_lossy().parse::<ulid::Ulid>().is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}
