//! Zigzag varints, the integers within records.

/// Takes a varint of at most 32 bits off the front of `input`.
pub(crate) fn take_i32(input: &mut &[u8]) -> Result<i32, &'static str> {
    let raw = take_raw(input, 5)?;
    let raw = u32::try_from(raw).map_err(|_| "a varint has more than 32 bits")?;
    Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
}

/// Takes a varint of at most 64 bits off the front of `input`.
pub(crate) fn take_i64(input: &mut &[u8]) -> Result<i64, &'static str> {
    let raw = take_raw(input, 10)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

/// Appends a varint.
pub(crate) fn put(out: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag(value);
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// How many bytes [`put`] appends.
pub(crate) fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn take_raw(input: &mut &[u8], most_bytes: usize) -> Result<u64, &'static str> {
    let mut value = 0u64;
    for (index, &byte) in input.iter().take(most_bytes).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte of a 64-bit integer holds its last bit alone.
        if index == 9 && bits > 1 {
            return Err("a varint has more than 64 bits");
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            *input = &input[index + 1..];
            return Ok(value);
        }
    }
    Err(if input.len() < most_bytes { "it ends within a varint" } else { "a varint is too long" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(value: i64, expected: &[u8]) {
        let mut out = Vec::new();
        put(&mut out, value);
        assert_eq!(out, expected, "{value}");
        assert_eq!(size(value), expected.len(), "{value}");
        assert_eq!(take_i64(&mut expected.to_vec().as_slice()), Ok(value));
    }

    #[test]
    fn known_values() {
        check(0, &[0]);
        check(-1, &[1]);
        check(1, &[2]);
        check(63, &[0x7e]);
        check(64, &[0x80, 0x01]);
        check(-64, &[0x7f]);
        check(-65, &[0x81, 0x01]);
        check(i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check(i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn malformed_values_are_refused() {
        assert!(take_i32(&mut [].as_slice()).is_err());
        assert!(take_i32(&mut [0x80].as_slice()).is_err());
        assert!(take_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x1f].as_slice()).is_err());
        assert!(take_i32(&mut [0x80, 0x80, 0x80, 0x80, 0x80, 0x00].as_slice()).is_err());
        assert!(take_i64(&mut [0xff; 12].as_slice()).is_err());
        assert!(
            take_i64(&mut [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02].as_slice()).is_err()
        );
    }

    proptest! {
        #[test]
        fn round_trip(value: i64, narrow: i32, rest in proptest::collection::vec(any::<u8>(), 0..4)) {
            let mut out = Vec::new();
            put(&mut out, value);
            put(&mut out, i64::from(narrow));
            prop_assert_eq!(out.len(), size(value) + size(i64::from(narrow)));
            out.extend(&rest);
            let mut input = out.as_slice();
            prop_assert_eq!(take_i64(&mut input), Ok(value));
            prop_assert_eq!(take_i32(&mut input), Ok(narrow));
            prop_assert_eq!(input, rest.as_slice());
        }
    }
}
