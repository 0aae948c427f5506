//! How `highwater consume --format` prints a record; the letters are those of kcat.

use highwater_client::ConsumedRecord;
use std::io::{self, Write};
use std::str::FromStr;

/// A format, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFormat(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value,
    ValueLength,
    Key,
    KeyLength,
    Topic,
    Partition,
    Offset,
    Timestamp,
    Headers,
}

impl FromStr for RecordFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => literal.push(escape(letters.next())?),
                '%' => match letters.next() {
                    Some('%') => literal.push('%'),
                    token => {
                        let part = part(token)?;
                        if !literal.is_empty() {
                            parts.push(Part::Text(std::mem::take(&mut literal)));
                        }
                        parts.push(part);
                    }
                },
                letter => literal.push(letter),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self(parts))
    }
}

fn escape(letter: Option<char>) -> Result<char, String> {
    match letter {
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some('0') => Ok('\0'),
        Some('\\') => Ok('\\'),
        Some(letter) => Err(format!("\\{letter} is not known: there are \\n \\r \\t \\0 \\\\")),
        None => Err("nothing stands behind the last \\".to_owned()),
    }
}

fn part(letter: Option<char>) -> Result<Part, String> {
    Ok(match letter {
        Some('s') => Part::Value,
        Some('S') => Part::ValueLength,
        Some('k') => Part::Key,
        Some('K') => Part::KeyLength,
        Some('t') => Part::Topic,
        Some('p') => Part::Partition,
        Some('o') => Part::Offset,
        Some('T') => Part::Timestamp,
        Some('h') => Part::Headers,
        Some(letter) => {
            return Err(format!("%{letter} is not known: there are %s %S %k %K %t %p %o %T %h %%"));
        }
        None => return Err("nothing stands behind the last %".to_owned()),
    })
}

impl RecordFormat {
    /// Prints a record. A null key or value prints as nothing.
    pub fn write(&self, record: &ConsumedRecord, out: &mut impl Write) -> io::Result<()> {
        let length = |field: &Option<bytes::Bytes>| field.as_ref().map_or(-1, |bytes| bytes.len() as i64);
        for part in &self.0 {
            match part {
                Part::Text(text) => out.write_all(text.as_bytes())?,
                Part::Value => out.write_all(record.value.as_deref().unwrap_or_default())?,
                Part::ValueLength => write!(out, "{}", length(&record.value))?,
                Part::Key => out.write_all(record.key.as_deref().unwrap_or_default())?,
                Part::KeyLength => write!(out, "{}", length(&record.key))?,
                Part::Topic => out.write_all(record.topic.as_bytes())?,
                Part::Partition => write!(out, "{}", record.partition)?,
                Part::Offset => write!(out, "{}", record.offset)?,
                Part::Timestamp => write!(out, "{}", record.timestamp)?,
                Part::Headers => write_headers(record, out)?,
            }
        }
        Ok(())
    }
}

fn write_headers(record: &ConsumedRecord, out: &mut impl Write) -> io::Result<()> {
    for (index, header) in record.headers.iter().enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        out.write_all(&header.key)?;
        out.write_all(b"=")?;
        out.write_all(header.value.as_deref().unwrap_or(b"NULL"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_records::Header;
    use highwater_types::{LeaderEpoch, Offset, PartitionIndex, Timestamp};

    fn check(format: &str, expected: &str) {
        let record = ConsumedRecord {
            topic: "orders".into(),
            partition: PartitionIndex(2),
            offset: Offset(41),
            timestamp: Timestamp(7),
            leader_epoch: LeaderEpoch(0),
            key: None,
            value: Some("hello".into()),
            headers: vec![
                Header { key: "a".into(), value: Some("b".into()) },
                Header { key: "c".into(), value: None },
            ],
        };
        let mut out = Vec::new();
        let format: RecordFormat = format.parse().expect("a format");
        format.write(&record, &mut out).expect("memory");
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }

    #[test]
    fn letters_stand_for_fields() {
        check("%s\\n", "hello\n");
        check("%t-%p@%o %T [%k] %K %S %h 100%%\\t", "orders-2@41 7 [] -1 5 a=b,c=NULL 100%\t");
    }

    #[test]
    fn unknown_letters_are_refused() {
        for (format, part) in
            [("%x", "%x is not known"), ("%", "behind the last %"), ("\\q", "\\q"), ("\\", "last \\")]
        {
            let error = format.parse::<RecordFormat>().expect_err(format);
            assert!(error.contains(part), "{error}");
        }
    }
}
