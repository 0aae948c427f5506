//! One record, and its bytes within a batch.

use crate::varint;
use bytes::Bytes;
use highwater_types::{Offset, Timestamp};

/// The smallest header: an empty key and no value.
const SMALLEST_HEADER_BYTES: usize = 2;

/// A record of a batch. Key, value and headers share the memory of the batch (or of its decompressed records).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// When it was created, or appended: the batch's timestamp type tells.
    pub timestamp: Timestamp,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; a record without one is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// The headers, in the producer's order. Keys may repeat.
    pub headers: Vec<Header>,
}

/// A header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The key: UTF-8 by convention, which nothing on the way enforces.
    pub key: Bytes,
    /// The value, if it has one.
    pub value: Option<Bytes>,
}

/// A record as it stands in a batch, borrowed from the batch's uncompressed records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: usize,
}

impl<'a> RawRecord<'a> {
    /// Takes a record off the front of `input`. All of it is checked, headers included.
    pub(crate) fn take(input: &mut &'a [u8]) -> Result<Self, &'static str> {
        let length = varint::take_i32(input)?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let mut body = take(input, length)?;
        let body = &mut body;
        // A record's attributes have no meaning so far.
        take(body, 1)?;
        let timestamp_delta = varint::take_i64(body)?;
        let offset_delta = varint::take_i32(body)?;
        let key = take_nullable(body)?;
        let value = take_nullable(body)?;
        let header_count = varint::take_i32(body)?;
        let header_count = usize::try_from(header_count).map_err(|_| "its header count is negative")?;
        if header_count > body.len() / SMALLEST_HEADER_BYTES {
            return Err("it ends within its headers");
        }
        let record = Self { timestamp_delta, offset_delta, key, value, headers: body, header_count };
        let mut rest = record.headers;
        for _ in 0..header_count {
            take_header(&mut rest)?;
        }
        if rest.is_empty() { Ok(record) } else { Err("its fields do not fill its length") }
    }

    /// The headers, as slices of `whole`, in which the record lies.
    pub(crate) fn headers(&self, whole: &Bytes) -> Vec<Header> {
        let mut headers = Vec::with_capacity(self.header_count);
        let mut rest = self.headers;
        // `take` has been over them, so that every one decodes.
        while let (true, Ok((key, value))) = (headers.len() < self.header_count, take_header(&mut rest)) {
            headers
                .push(Header { key: whole.slice_ref(key), value: value.map(|value| whole.slice_ref(value)) });
        }
        headers
    }
}

/// The fields of a record to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRecord<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [Header],
}

impl NewRecord<'_> {
    /// How many bytes [`NewRecord::put`] appends.
    pub(crate) fn size(&self) -> usize {
        let body = self.body_size();
        varint::size(body as i64) + body
    }

    /// Appends the record.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, self.body_size() as i64);
        out.push(0);
        varint::put(out, self.timestamp_delta);
        varint::put(out, self.offset_delta.into());
        put_nullable(out, self.key);
        put_nullable(out, self.value);
        varint::put(out, self.headers.len() as i64);
        for header in self.headers {
            put_nullable(out, Some(&header.key));
            put_nullable(out, header.value.as_deref());
        }
    }

    fn body_size(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|header| nullable_size(Some(&header.key)) + nullable_size(header.value.as_deref()))
            .sum();
        1 + varint::size(self.timestamp_delta)
            + varint::size(self.offset_delta.into())
            + nullable_size(self.key)
            + nullable_size(self.value)
            + varint::size(self.headers.len() as i64)
            + headers
    }
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (taken, rest) = input.split_at_checked(length).ok_or("it ends within a field")?;
    *input = rest;
    Ok(taken)
}

fn take_nullable<'a>(input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, &'static str> {
    match varint::take_i32(input)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| "a field's length is negative")?;
            take(input, length).map(Some)
        }
    }
}

fn take_header<'a>(input: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), &'static str> {
    let key = take_nullable(input)?.ok_or("a header has no key")?;
    Ok((key, take_nullable(input)?))
}

fn put_nullable(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

fn nullable_size(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| varint::size(bytes.len() as i64) + bytes.len())
}
