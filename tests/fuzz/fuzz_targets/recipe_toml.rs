//! The text of a `recipe.toml`.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use touchstone_fuzz::heap;
use touchstone_models::recipe::{
    FALSE_REJECT_PPM_MAX, RecipeCard, SMALLEST_DEFECT_PX_MAX, TILES_MAX,
};

/// Bytes held for a text without any, and for each byte of the text.
const HEAP_BASE: usize = 64 << 10;
const HEAP_PER_BYTE: usize = 512;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    let (parsed, held) = heap::peak(|| RecipeCard::parse(text));
    assert!(held <= HEAP_BASE + HEAP_PER_BYTE * text.len(), "{held} for {}", text.len());
    match parsed {
        Ok(card) => {
            assert!((1..=FALSE_REJECT_PPM_MAX).contains(&card.false_reject_ppm));
            assert!((1..=SMALLEST_DEFECT_PX_MAX).contains(&card.smallest_defect_px));
            assert!(card.version >= 1 && (1..=TILES_MAX).contains(&card.tiles.count()));
            assert!(!card.name.contains(['/', '.']) && !card.name.is_empty());
            let emitted = card.emit().expect("a sound card can be written");
            assert_eq!(RecipeCard::parse(&emitted), Ok(card));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    Corpus::Keep
});
