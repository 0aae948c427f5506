//! What openings found that puts a log's completeness in doubt.
//!
//! An opening writes new marks and epochs in the place of those that were lost, and cuts what does not check out. If
//! the process ended before it told anybody, the next one would find all in order, and take the log for complete. So
//! what was found is written down first, and stays until [`Log::losses_told`].

use crate::checkpoint::replace;
use crate::frame::FrameKind;
use crate::log::Log;
use crate::recovery::read_small;
use crate::report::{MarksFound, RecoveryReport};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_env::{Disk, Env};
use highwater_types::mutant;
use std::io;
use std::path::Path;

const EVIDENCE: &str = "evidence";
const KIND: FrameKind = FrameKind { magic: b"HWEVIDNC", version: 1, limit_bytes: 4096 };
const PAYLOAD_BYTES: usize = 10;

const EPOCHS_LOST: u8 = 1;
const BEHIND_CUT: u8 = 2;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    marks: MarksFound,
    cut_bytes: u64,
    batches_behind_cut: bool,
    epochs_lost: bool,
}

impl Evidence {
    /// Of which nothing is known but that there was some.
    const UNREADABLE: Self =
        Self { marks: MarksFound::Lost, cut_bytes: 0, batches_behind_cut: true, epochs_lost: true };

    fn of(report: &RecoveryReport) -> Self {
        let RecoveryReport { marks, cut_bytes, batches_behind_cut, epochs_lost, .. } = *report;
        Self { marks, cut_bytes, batches_behind_cut, epochs_lost }
    }

    /// Whether the proven marks were lost, so that the log need not be in those that were written since.
    pub(crate) fn lost_marks(&self) -> bool {
        self.marks == MarksFound::Lost
    }

    /// Has a report say this too.
    pub(crate) fn add_to(&self, report: &mut RecoveryReport) {
        report.marks = report.marks.max(self.marks);
        report.cut_bytes = report.cut_bytes.saturating_add(self.cut_bytes);
        report.batches_behind_cut |= self.batches_behind_cut;
        report.epochs_lost |= self.epochs_lost;
    }

    fn encode(&self) -> Bytes {
        let mut payload = BytesMut::with_capacity(PAYLOAD_BYTES);
        payload.put_u8(match self.marks {
            MarksFound::Current => 0,
            MarksFound::Previous => 1,
            MarksFound::Lost => 2,
        });
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        payload.put_u8(flag(self.epochs_lost, EPOCHS_LOST) | flag(self.batches_behind_cut, BEHIND_CUT));
        payload.put_u64(self.cut_bytes);
        KIND.encode(&payload)
    }

    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let (_, mut payload) = KIND.decode(bytes).ok()?;
        if payload.len() != PAYLOAD_BYTES {
            return None;
        }
        let marks = match payload.get_u8() {
            0 => MarksFound::Current,
            1 => MarksFound::Previous,
            2 => MarksFound::Lost,
            _ => return None,
        };
        let flags = payload.get_u8();
        let (epochs_lost, batches_behind_cut) = (flags & EPOCHS_LOST != 0, flags & BEHIND_CUT != 0);
        Some(Self { marks, cut_bytes: payload.get_u64(), batches_behind_cut, epochs_lost })
    }

    /// What earlier openings of the log in a directory found, and nobody was told of.
    pub(crate) async fn load<D: Disk>(disk: &D, dir: &Path) -> io::Result<Option<Self>> {
        let bytes = read_small(disk, &dir.join(EVIDENCE), KIND.limit_bytes).await?;
        Ok(bytes.map(|bytes| Self::decode(&bytes).unwrap_or(Self::UNREADABLE)))
    }

    /// Keeps what an opening found, if it is to be told of. To be called before anything of it is changed on disk.
    pub(crate) async fn keep<D: Disk>(disk: &D, dir: &Path, report: &RecoveryReport) -> io::Result<()> {
        if !report.may_be_incomplete() || mutant!("evidence-unkept") {
            return Ok(());
        }
        replace(disk, dir, EVIDENCE, Self::of(report).encode()).await
    }
}

impl<E: Env> Log<E> {
    /// Whoever relies on this log knows by now what its opening reported: the next one reports what it finds itself.
    pub async fn losses_told(&self) -> io::Result<()> {
        let (disk, dir) = (self.0.core.env.disk(), &self.0.dir);
        match disk.remove_file(&dir.join(EVIDENCE)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => disk.sync_dir(dir).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_read_as_it_was_written() {
        let marks = [MarksFound::Current, MarksFound::Previous, MarksFound::Lost];
        for (number, marks) in marks.into_iter().enumerate() {
            let evidence = Evidence {
                marks,
                cut_bytes: u64::MAX - number as u64,
                batches_behind_cut: number == 1,
                epochs_lost: number == 2,
            };
            assert_eq!(Evidence::decode(&evidence.encode()), Some(evidence));
        }
        assert_eq!(Evidence::decode(&Bytes::from_static(b"HWEVIDNC")), None);
        assert_eq!(Evidence::decode(&KIND.encode(&[3; PAYLOAD_BYTES])), None);
    }
}
