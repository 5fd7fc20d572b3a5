//! A posterior of whole pictures: any bytes, and any content with the right beginning and checksum.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use touchstone_fuzz::heap;
use touchstone_models::image_posterior::{
    CAMERAS_MAX, CHECK_BYTES, IMAGE_POSTERIOR_BYTES_MAX, ImagePosterior, MAGIC, PARTS_MAX,
};

/// What reading may hold beside twice the file itself.
const HEAP_BASE: usize = 16 << 10;

fn read(bytes: &[u8]) {
    let (read, held) = heap::peak(|| ImagePosterior::parse(bytes));
    assert!(held <= HEAP_BASE + 2 * bytes.len(), "{held} bytes held for {}", bytes.len());
    let read = match read {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            return;
        }
    };
    assert!(bytes.len() as u64 <= IMAGE_POSTERIOR_BYTES_MAX);
    assert_eq!(read.emit(), bytes);
    let cameras: Vec<(String, usize)> =
        read.cameras().map(|(name, parts)| (name.to_owned(), parts)).collect();
    assert!((1..=CAMERAS_MAX).contains(&cameras.len()));
    let parts: usize = cameras.iter().map(|(_, parts)| *parts).sum();
    assert!(cameras.iter().all(|(_, parts)| (1..=PARTS_MAX).contains(parts)));
    for look in 0..read.looks() {
        let samples = read.samples(look);
        assert_eq!(samples.len(), parts);
        assert!(samples.iter().flatten().all(|v| v.is_finite()));
    }
    // A camera cannot be in it twice, and can be taken out.
    assert!(read.merge(&read).is_err());
    let left = read.unmerge(&cameras[0].0).expect("it is in there");
    assert_eq!(left.is_none(), cameras.len() == 1);
}

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    let mut sealed = MAGIC.to_vec();
    sealed.extend(bytes);
    let check = Sha256::digest(&sealed);
    sealed.extend(&check[..CHECK_BYTES]);
    read(&sealed);
});
