//! Incremental UTF-8 validation (RFC 6455 section 8.1) for text that arrives in pieces.
//!
//! Keeps at most the three bytes of a character whose end has not arrived, and fails at the
//! first byte that can no longer become valid, so a bad message is refused before it is
//! complete. Whole pieces run at the speed of `simdutf8`.

/// The text so far can no longer become valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUtf8;

/// A validator between two pieces of a text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Validator {
    /// The first bytes of a character, a valid prefix; zeros behind `partial_bytes`.
    partial: [u8; 3],
    /// How many bytes of `partial` count.
    partial_bytes: u8,
}

impl Validator {
    /// Takes the next piece of the text.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), NotUtf8> {
        let piece = self.complete_partial(piece)?;
        let Err(error) = simdutf8::compat::from_utf8(piece) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(NotUtf8);
        }
        let rest = &piece[error.valid_up_to()..];
        debug_assert!(rest.len() <= 3, "four bytes are a character or an error");
        self.partial[..rest.len()].copy_from_slice(rest);
        self.partial_bytes = rest.len() as u8;
        Ok(())
    }

    /// Ends the text: it must not stop inside a character. The validator is fresh afterwards.
    pub fn finish(&mut self) -> Result<(), NotUtf8> {
        let held = std::mem::take(&mut self.partial_bytes);
        if held == 0 { Ok(()) } else { Err(NotUtf8) }
    }

    /// Moves bytes of `piece` to the held character until it is whole; returns the others.
    fn complete_partial<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], NotUtf8> {
        let mut piece = piece;
        while self.partial_bytes > 0
            && let Some((&byte, rest)) = piece.split_first()
        {
            let held = usize::from(self.partial_bytes);
            let mut character = [0; 4];
            character[..held].copy_from_slice(&self.partial[..held]);
            character[held] = byte;
            match std::str::from_utf8(&character[..=held]) {
                Ok(_) => self.partial_bytes = 0,
                Err(error) if error.error_len().is_none() => {
                    self.partial[held] = byte;
                    self.partial_bytes += 1;
                }
                Err(_) => return Err(NotUtf8),
            }
            piece = rest;
        }
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(pieces: &[&[u8]]) -> Result<(), NotUtf8> {
        let mut validator = Validator::default();
        pieces.iter().try_for_each(|piece| validator.feed(piece))?;
        validator.finish()
    }

    #[test]
    fn characters_may_be_cut_anywhere() {
        let text = "aé€😀z".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(validate(&pieces), Ok(()), "{first} {second}");
            }
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(validate(&bytes), Ok(()));
    }

    // RFC 6455 §8.1 with the byte tables of RFC 3629 §4.
    #[test]
    fn fails_at_the_first_impossible_byte() {
        let cases: [&[u8]; 8] = [
            &[0x80],                   // a continuation byte first
            &[0xC0],                   // overlong
            &[0xE0, 0x80],             // overlong
            &[0xED, 0xA0],             // a surrogate
            &[0xF0, 0x80],             // overlong
            &[0xF4, 0x90],             // beyond U+10FFFF
            &[0xF5],                   // beyond U+10FFFF
            &[0xF0, 0x9F, 0x98, 0x41], // the end is missing
        ];
        for case in cases {
            let mut validator = Validator::default();
            let (last, before) = case.split_last().unwrap();
            for byte in before {
                assert_eq!(validator.feed(&[*byte]), Ok(()), "{case:x?}");
            }
            assert_eq!(validator.feed(&[*last]), Err(NotUtf8), "{case:x?}");
        }
    }

    #[test]
    fn a_text_must_not_end_inside_a_character() {
        assert_eq!(validate(&["€".as_bytes(), &[0xE2, 0x82]]), Err(NotUtf8));
        assert_eq!(validate(&[]), Ok(()));
    }
}
