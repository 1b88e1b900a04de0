//! UTF-8 judged in pieces equals the standard library on the whole, as early as possible.

use proptest::prelude::*;
use tidegate::ws::utf8::Validator;

/// Text, text with one byte broken, or bytes.
fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
    let text = || "[a-zé€😀\u{7ff}\u{800}\u{ffff}\u{10ffff}]{0,60}".prop_map(String::into_bytes);
    let broken =
        (text(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut text, at, byte)| {
            if !text.is_empty() {
                let at = at.index(text.len());
                text[at] = byte;
            }
            text
        });
    prop_oneof![text(), broken, prop::collection::vec(any::<u8>(), 0..12)]
}

/// True exactly when no continuation of `bytes` is valid UTF-8.
fn is_hopeless(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_some())
}

proptest! {
    #[test]
    fn every_split_of_a_text_equals_the_standard_library(text in nearly_text()) {
        let is_valid = std::str::from_utf8(&text).is_ok();
        for cut in 0..=text.len() {
            let (first, second) = text.split_at(cut);
            let mut validator = Validator::default();
            let fed = validator.feed(first).and_then(|()| validator.feed(second));
            prop_assert_eq!(fed.is_err(), is_hopeless(&text));
            prop_assert_eq!(fed.and_then(|()| validator.finish()).is_ok(), is_valid);
        }
    }

    #[test]
    fn texts_fail_at_the_first_hopeless_byte(text in nearly_text()) {
        let mut validator = Validator::default();
        for (index, byte) in text.iter().enumerate() {
            let hopeless = is_hopeless(&text[..=index]);
            prop_assert_eq!(validator.feed(&[*byte]).is_err(), hopeless);
            if hopeless {
                break;
            }
        }
    }
}
