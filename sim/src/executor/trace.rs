//! Events as lines of text.

use highwater_env::Event;

/// An event in a few words.
pub(super) fn told(event: &Event) -> String {
    match event {
        Event::Appended { log, base, last, epoch, checksum, producer } => {
            let by = producer
                .map(|(id, epoch, sequence)| format!(" of producer {id}/{epoch} from sequence {sequence}"));
            format!(
                "{log} appended {base}..={last} in epoch {epoch}, {checksum:08x}{}",
                by.unwrap_or_default()
            )
        }
        Event::Synced { log, end } => format!("{log} synced up to {end}"),
        Event::HighWatermark { log, end } => format!("{log} high watermark {end}"),
        Event::LogStart { log, start } => format!("{log} starts at {start}"),
        Event::Truncated { log, end } => format!("{log} truncated to {end}"),
        Event::Recovered { log, start, end, proven, cut_bytes } => {
            format!("{log} recovered {start}..{end}, proven {proven}, {cut_bytes} bytes cut")
        }
        Event::Damaged { log, from, to } => format!("{log} damaged {from}..{to}"),
        Event::Poisoned { log } => format!("{log} FAILED"),
        Event::Acknowledged { log, base, last, acks } => {
            format!("{log} acknowledged {base}..={last}, acks={acks}")
        }
        Event::Reached(mark) => format!("mark {mark:?}"),
        other => format!("{other:?}"),
    }
}
