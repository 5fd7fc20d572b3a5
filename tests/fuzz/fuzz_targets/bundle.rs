//! A bundle after its signature: any bytes, and any bytes in frames of a sound tar.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use touchstone_fuzz::heap;
use touchstone_models::bundle::{
    BundleError, BundleName, Claim, ENTRIES_MAX, TAR_BLOCK, TrustedKeys, pack, walk,
};
use touchstone_models::recipe::Recipe;

/// What the walk may hold: a block, the names seen, and an error's text.
const HEAP_MAX: usize = 64 << 10;
const NAMES: [&str; 6] = [
    "recipe.toml",
    "ignore.png",
    "prompts/1.png",
    "prompts/2.png",
    "golden/pass/1.png",
    "golden/fail/1.png",
];

fn walked(bytes: &[u8]) {
    let size = bytes.len() as u64;
    let (mut entries, mut end) = (0, 0);
    let (done, held) = heap::peak(|| {
        walk(&mut &bytes[..], size, |member, content| {
            entries += 1;
            assert!(member.at >= end && member.at + member.length <= size);
            assert!(member.at.is_multiple_of(TAR_BLOCK));
            end = member.at + member.length;
            // Some read all of it, some nothing.
            if member.length % 2 == 0 {
                std::io::copy(content, &mut std::io::sink()).expect("bytes in memory");
            }
            Ok::<(), BundleError>(())
        })
    });
    assert!(held <= HEAP_MAX, "{held} bytes held");
    assert!(entries <= ENTRIES_MAX);
    if let Err(error) = done {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    walked(bytes);
    let _ = Recipe::read_bundle(bytes, bytes.len() as u64, Path::new("b"));
    // Files of the fuzzer's content in a tar that is right, so that what is behind it is reached.
    let pieces: Vec<&[u8]> = bytes.split(|byte| *byte == 0xfe).take(NAMES.len()).collect();
    let mut packed = Vec::new();
    let files = NAMES.iter().copied().zip(pieces.iter().copied());
    pack(files, &mut packed).expect("written to memory");
    walked(&packed);
    if let Ok(recipe) = Recipe::read_bundle(&packed[..], packed.len() as u64, Path::new("b")) {
        let mut again = Vec::new();
        recipe.pack(&mut again).ok();
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(claim) = Claim::parse(&text) {
        assert_eq!(Claim::parse(&claim.to_string()), Ok(claim));
    }
    if let Some(name) = BundleName::parse(&text) {
        assert_eq!(name.to_string(), text);
    }
    // Without a key nothing is believed.
    assert!(TrustedKeys::default().verify(&text, &mut &b""[..]).is_err());
});
