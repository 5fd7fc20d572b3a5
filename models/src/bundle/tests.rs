use super::*;
use crate::picture::{Picture, encode_png};
use crate::recipe::{ModelPin, Recipe, RecipeCard};
use minisign::KeyPair;
use proptest::prelude::*;
use std::io::Cursor;

/// A key pair and the text of its public file.
pub(super) fn key() -> (KeyPair, String) {
    let pair = KeyPair::generate_unencrypted_keypair().unwrap();
    let public = pair.pk.to_box().unwrap().into_string();
    (pair, public)
}

/// The text of a signature's file.
pub(super) fn sign(pair: &KeyPair, bytes: &[u8], comment: &str) -> String {
    minisign::sign(Some(&pair.pk), &pair.sk, Cursor::new(bytes), Some(comment), None)
        .unwrap()
        .into_string()
}

pub(super) fn picture() -> Picture {
    Picture::from_rgb8(24, 20, (0..24 * 20 * 3u32).map(|i| (i * 7 % 251) as u8).collect()).unwrap()
}

pub(super) fn card() -> RecipeCard {
    RecipeCard {
        smallest_defect_px: 4,
        ..RecipeCard::new("cap", 2, ModelPin { id: "tiny".to_owned(), hash: "a".repeat(64) })
    }
}

pub(super) fn packed() -> Vec<u8> {
    let mut bytes = Vec::new();
    Recipe::new(card(), vec![picture()]).unwrap().pack(&mut bytes).unwrap();
    bytes
}

pub(super) fn trusting(keys: &[&str], revoked: &str) -> TrustedKeys {
    let mut trusted = TrustedKeys::default();
    keys.iter().for_each(|key| trusted.add(key).unwrap());
    trusted.revoke(revoked).unwrap();
    trusted
}

#[test]
fn names_have_one_form() {
    let name = BundleName::parse("cap-38-12.touchstone").unwrap();
    assert_eq!((name.name.as_str(), name.version), ("cap-38", 12));
    assert_eq!(name.to_string(), "cap-38-12.touchstone");
    assert_eq!(name.signature(), "cap-38-12.touchstone.minisig");
    for bad in [
        "cap-012.touchstone",
        "cap-0.touchstone",
        "cap.touchstone",
        "-1.touchstone",
        "Cap-1.touchstone",
        "../cap-1.touchstone",
        "cap-4294967296.touchstone",
        "cap-1.touchstone.minisig",
        "cap-+1.touchstone",
        "cap-1.tar",
    ] {
        assert_eq!(BundleName::parse(bad), None, "{bad}");
    }
}

#[test]
fn a_claim_says_three_things_once() {
    let claim = Claim::parse("board=orin\tname=cap  version=2").unwrap();
    assert_eq!(claim.to_string(), "name=cap version=2 board=orin");
    assert!(claim.is_for(Some("orin")) && !claim.is_for(Some("pi")) && !claim.is_for(None));
    let any = Claim { board: ANY_BOARD.to_owned(), ..claim };
    assert!(any.is_for(None) && any.is_for(Some("pi")));
    for bad in [
        "",
        "timestamp:1555779966\tfile:test",
        "name=cap version=2",
        "name=cap version=02 board=any",
        "name=cap version=-2 board=any",
        "name=cap version=2 board=any name=cup",
        "name=../cap version=2 board=any",
        "name=cap version=2 board=any extra=1",
    ] {
        assert!(matches!(Claim::parse(bad), Err(TrustError::Comment { .. })), "{bad}");
    }
}

#[test]
fn a_signature_is_believed_and_says_what_it_is_for() {
    let ((pair, public), bytes) = (key(), packed());
    let signature = sign(&pair, &bytes, "name=cap version=2 board=any");
    let verified = trusting(&[&public], "").verify(&signature, &mut &bytes[..]).unwrap();
    assert_eq!((verified.claim.name.as_str(), verified.claim.version), ("cap", 2));
    assert_eq!(verified.sha256, crate::package::sha256_hex(&bytes));
}

#[test]
fn a_rollover_goes_through_two_keys_and_ends_with_the_old_one_revoked() {
    let ((old, old_public), (new, new_public)) = (key(), key());
    let bytes = packed();
    let by = |pair| sign(pair, &bytes, "name=cap version=2 board=any");
    let believes = |keys: &TrustedKeys, pair| keys.verify(&by(pair), &mut &bytes[..]).map(|_| ());
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    assert!(matches!(TrustedKeys::open(dir.path()), Err(TrustError::NoKeys { .. })));
    put("2026.pub", &old_public);
    let before = TrustedKeys::open(dir.path()).unwrap();
    let old_id = before.active().next().unwrap();
    assert_eq!(believes(&before, &old), Ok(()));
    assert!(matches!(believes(&before, &new), Err(TrustError::UnknownKey { .. })));
    put("2027.pub", &new_public);
    let during = TrustedKeys::open(dir.path()).unwrap();
    assert_eq!((believes(&during, &old), believes(&during, &new)), (Ok(()), Ok(())));
    put("third.pub", &key().1);
    assert!(matches!(TrustedKeys::open(dir.path()), Err(TrustError::TooManyKeys { .. })));
    // Revoked keys do not count, whether their file is still there or not.
    put(REVOKED_FILE, &format!("# stolen\n{old_id}  # with the laptop\n"));
    let after = TrustedKeys::open(dir.path()).unwrap();
    assert_eq!(believes(&after, &old), Err(TrustError::Revoked { key: old_id }));
    assert_eq!(believes(&after, &new), Ok(()));
    put(REVOKED_FILE, "E7620F1842B4E81\n");
    assert!(matches!(TrustedKeys::open(dir.path()), Err(TrustError::Key { .. })), "a typing error");
}

#[test]
fn stock_tar_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Recipe::new(card(), vec![picture()]).unwrap();
    recipe.save(&dir.path().join("cap")).unwrap();
    for (format, what) in [("gnu", "."), ("ustar", "."), ("ustar", "recipe.toml prompts")] {
        let file = dir.path().join(format!("cap-{}.touchstone", what.len() + format.len()));
        let tar = std::process::Command::new("tar")
            .args([&format!("--format={format}"), "-C"])
            .arg(dir.path().join("cap"))
            .arg("-cf")
            .arg(&file)
            .args(what.split(' '))
            .status();
        let Ok(status) = tar else {
            return eprintln!("SKIPPED: no tar on this machine, so nothing was tested with it");
        };
        assert!(status.success());
        assert_eq!(Recipe::open(&file).unwrap().prompts, recipe.prompts, "{format} {what}");
    }
}

/// `minisign` itself makes what is believed here, and believes what is made here.
#[test]
fn stock_minisign_is_understood_and_understands() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let run = |args: &[&str]| std::process::Command::new("minisign").args(args).output();
    let bundle = BundleName { name: "cap".to_owned(), version: 2 };
    let (file, signature) = (path(&bundle.to_string()), path(&bundle.signature()));
    std::fs::write(&file, packed()).unwrap();
    let made = run(&["-GW", "-p", &path("k.pub"), "-s", &path("k.key")]);
    let Ok(made) = made else {
        return eprintln!("SKIPPED: no minisign on this machine, so nothing was tested with it");
    };
    assert!(made.status.success(), "{made:?}");
    let comment = "name=cap version=2 board=any";
    let signed = run(&["-S", "-s", &path("k.key"), "-m", &file, "-t", comment]).unwrap();
    assert!(signed.status.success(), "{signed:?}");
    let keys = TrustedKeys::open(dir.path()).unwrap();
    let text = std::fs::read_to_string(&signature).unwrap();
    assert_eq!(keys.verify(&text, &mut &packed()[..]).unwrap().claim.version, 2);
    // The other way round.
    let (pair, public) = key();
    std::fs::write(path("k.pub"), public).unwrap();
    std::fs::write(&signature, sign(&pair, &packed(), comment)).unwrap();
    let checked = run(&["-V", "-p", &path("k.pub"), "-m", &file]).unwrap();
    assert!(checked.status.success(), "{checked:?}");
    // Its legacy signatures would need the whole bundle in memory.
    run(&["-GWf", "-p", &path("k.pub"), "-s", &path("k.key")]).unwrap();
    let legacy = run(&["-S", "-l", "-s", &path("k.key"), "-m", &file, "-t", comment]).unwrap();
    if legacy.status.success() {
        let keys = TrustedKeys::open(dir.path()).unwrap();
        let text = std::fs::read_to_string(&signature).unwrap();
        assert_eq!(keys.verify(&text, &mut &packed()[..]), Err(TrustError::Legacy));
    }
}

proptest! {
    #[test]
    fn any_byte_changed_is_noticed(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let ((pair, public), mut bytes) = (key(), packed());
        let signature = sign(&pair, &bytes, "name=cap version=2 board=any");
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let said = trusting(&[&public], "").verify(&signature, &mut &bytes[..]);
        prop_assert_eq!(said, Err(TrustError::Forged));
    }

    #[test]
    fn any_damage_to_a_bundle_is_survived(
        at in any::<prop::sample::Index>(), flip in 1u8..=255, cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = packed();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let _ = Recipe::read_bundle(&bytes[..], bytes.len() as u64, "x".as_ref());
        let whole = packed();
        let short = &whole[..cut.index(whole.len())];
        prop_assert!(Recipe::read_bundle(short, short.len() as u64, "x".as_ref()).is_err());
    }

    #[test]
    fn any_comment_and_signature_is_survived(text in "\\PC{0,200}") {
        let _ = Claim::parse(&text);
        prop_assert!(trusting(&[], "").verify(&text, &mut &b""[..]).is_err());
        let _ = BundleName::parse(&text);
    }
}

#[test]
fn a_golden_picture_may_be_any_png_and_nothing_else() {
    let png = encode_png(&picture()).unwrap();
    let files = [
        ("recipe.toml", card().emit().unwrap().into_bytes()),
        ("prompts/a.png", png.clone()),
        ("golden/fail/scratch_1.PNG.png", png),
    ];
    let mut bytes = Vec::new();
    pack(files, &mut bytes).unwrap();
    let recipe = Recipe::read_bundle(&bytes[..], bytes.len() as u64, "x".as_ref()).unwrap();
    assert_eq!(recipe.golden_fail.len(), 1);
}
