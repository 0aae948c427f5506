//! CRC-32C (Castagnoli), the checksum of record batches.

use crc_fast::{CrcAlgorithm, Digest};
use std::fmt;

/// The CRC-32C of one slice.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The CRC-32C of bytes that lie in several slices.
pub struct Crc32c(Digest);

impl Crc32c {
    /// The checksum of no bytes.
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Takes further bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of everything taken in.
    pub fn finish(&self) -> u32 {
        // The library gives every width as 64 bits; a 32-bit checksum fills the lower half.
        self.0.finalize() as u32
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Crc32c {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crc32c({:#010x})", self.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors() {
        // RFC 3720, appendix B.4, and the check value of the CRC catalogue.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn pieces_give_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..4_000u32).map(|i| (i * 7 + i / 251) as u8).collect();
        for cut in [0, 1, 15, 40, 127, 128, 1_000, 3_999, 4_000] {
            let mut crc = Crc32c::new();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(crc.finish(), crc32c(&bytes), "cut at {cut}");
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_accelerated_path_is_compiled_in() {
        if std::arch::is_x86_feature_detected!("pclmulqdq") {
            let target = crc_fast::get_calculator_target(CrcAlgorithm::Crc32Iscsi);
            assert!(target.contains("pclmulqdq"), "{target}");
        }
    }
}
