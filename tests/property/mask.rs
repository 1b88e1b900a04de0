//! Unmasking by words equals the definition, at every alignment, and undoes itself.

use proptest::prelude::*;
use tidegate::ws::mask::{unmask, unmask_scalar};

proptest! {
    #[test]
    fn words_equal_the_scalar_twin(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        mask in any::<[u8; 4]>(),
        offset in any::<usize>(),
        align in 0..16_usize,
    ) {
        let offset = offset / 2;
        let align = align.min(payload.len());
        let (mut fast, mut slow) = (payload.clone(), payload.clone());
        unmask(&mut fast[align..], mask, offset);
        unmask_scalar(&mut slow[align..], mask, offset);
        prop_assert_eq!(&fast, &slow);
        unmask(&mut fast[align..], mask, offset);
        prop_assert_eq!(fast, payload);
    }

    #[test]
    fn pieces_continue_the_mask(
        payload in prop::collection::vec(any::<u8>(), 0..100),
        mask in any::<[u8; 4]>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut whole, mut cut_up) = (payload.clone(), payload);
        unmask(&mut whole, mask, 0);
        let (first, second) = cut_up.split_at_mut(cut.index(whole.len() + 1));
        unmask(first, mask, 0);
        unmask(second, mask, first.len());
        prop_assert_eq!(whole, cut_up);
    }
}
