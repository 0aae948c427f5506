//! Records as the harness knows them, and the files in which it exchanges them with the clients' programs.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// A header: its key and its value.
pub type Header = (String, Option<Vec<u8>>);

/// One record of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: i32,
    /// The offset; -1 before it is known.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers, in order.
    pub headers: Vec<Header>,
}

/// Writes a record file (`clients/README.md` says how).
pub fn write(path: &Path, records: &[Record]) -> Result<()> {
    let mut out = Vec::new();
    for record in records {
        out.extend(record.partition.to_be_bytes());
        out.extend(record.offset.to_be_bytes());
        out.extend(record.timestamp.to_be_bytes());
        put(&mut out, record.key.as_deref())?;
        put(&mut out, record.value.as_deref())?;
        out.extend(i32::try_from(record.headers.len())?.to_be_bytes());
        for (key, value) in &record.headers {
            put(&mut out, Some(key.as_bytes()))?;
            put(&mut out, value.as_deref())?;
        }
    }
    fs::write(path, out).with_context(|| format!("write {}", path.display()))
}

fn put(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<()> {
    let length = bytes.map_or(Ok(-1), |bytes| i32::try_from(bytes.len()))?;
    out.extend(length.to_be_bytes());
    out.extend(bytes.unwrap_or_default());
    Ok(())
}

/// Reads a record file.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("{} is cut short or not a record file", path.display()))
}

fn parse(mut bytes: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    let rest = &mut bytes;
    while !rest.is_empty() {
        let partition = i32::from_be_bytes(take(rest)?);
        let offset = i64::from_be_bytes(take(rest)?);
        let timestamp = i64::from_be_bytes(take(rest)?);
        let (key, value) = (text(rest)?, text(rest)?);
        let count = usize::try_from(i32::from_be_bytes(take(rest)?)).ok()?;
        let headers = (0..count)
            .map(|_| Some((String::from_utf8(text(rest)??).ok()?, text(rest)?)))
            .collect::<Option<Vec<Header>>>()?;
        records.push(Record { partition, offset, timestamp, key, value, headers });
    }
    Some(records)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn text(rest: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    let length = i32::from_be_bytes(take(rest)?);
    if length < 0 {
        return Some(None);
    }
    let (head, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(Some(head.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_as_they_were_written() {
        let records = vec![
            Record {
                partition: 3,
                offset: -1,
                timestamp: 1_700_000_000_123,
                key: None,
                value: Some(Vec::new()),
                headers: vec![
                    ("a".into(), Some(b"1".to_vec())),
                    ("b".into(), None),
                    ("a".into(), Some(vec![])),
                ],
            },
            Record {
                partition: 0,
                offset: 5,
                timestamp: 0,
                key: Some(b"k".to_vec()),
                value: None,
                headers: vec![],
            },
        ];
        let path = std::env::temp_dir().join(format!("highwater-records-{}", std::process::id()));
        write(&path, &records).unwrap();
        assert_eq!(read(&path).unwrap(), records);
        let bytes = fs::read(&path).unwrap();
        assert!(parse(&bytes[..bytes.len() - 1]).is_none());
        fs::remove_file(path).unwrap();
    }
}
