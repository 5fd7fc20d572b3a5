use super::*;
use clap::Parser;
use std::fs;
use std::path::Path;
use touchstone_models::picture::Picture;
use touchstone_models::recipe::{ModelPin, Recipe, RecipeCard};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: BundleCommand,
}

fn tools(line: &str) -> Result<()> {
    run(&Line::parse_from(format!("bundle {line}").split_whitespace()).command)
}

fn recipe(dir: &Path) -> PathBuf {
    let card = RecipeCard::new("cap", 3, ModelPin { id: "tiny".to_owned(), hash: "a".repeat(64) });
    let picture = Picture::from_rgb8(16, 16, (0..768u32).map(|i| (i % 251) as u8).collect());
    let folder = dir.join("cap");
    Recipe::new(card, vec![picture.unwrap()]).unwrap().save(&folder).unwrap();
    folder
}

#[test]
fn made_signed_and_checked_and_a_wrong_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    recipe(dir.path());
    fs::create_dir(dir.path().join("keys")).unwrap();
    tools(&format!("keygen {at}/mine --no-password")).unwrap();
    let again = tools(&format!("keygen {at}/mine --no-password")).unwrap_err();
    assert!(again.to_string().contains("is there already"), "{again}");
    fs::copy(dir.path().join("mine.pub"), dir.path().join("keys/mine.pub")).unwrap();
    tools(&format!("make {at}/cap --out {at} --key {at}/mine.key --board jetson-orin")).unwrap();
    let check = format!("verify {at}/cap-3.touchstone --keys {at}/keys");
    tools(&check).unwrap();
    tools(&format!("{check} --board jetson-orin --json")).unwrap();
    let other = tools(&format!("{check} --board raspberry-pi")).unwrap_err();
    assert!(other.to_string().contains("family jetson-orin"), "{other}");
    // A password protects a key, and the wrong one does not open it.
    fs::write(dir.path().join("pw"), "secret\n").unwrap();
    fs::write(dir.path().join("wrong"), "sesame\n").unwrap();
    tools(&format!("keygen {at}/other --password-file {at}/pw")).unwrap();
    let sign = format!("sign {at}/cap-3.touchstone --key {at}/other.key");
    assert!(tools(&format!("{sign} --password-file {at}/wrong")).is_err());
    tools(&format!("{sign} --password-file {at}/pw")).unwrap();
    let unknown = format!("{:#}", tools(&check).unwrap_err());
    assert!(unknown.contains("not trusted here"), "{unknown}");
}

#[test]
fn what_no_camera_would_take_is_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    recipe(dir.path());
    tools(&format!("keygen {at}/mine --no-password")).unwrap();
    tools(&format!("make {at}/cap --out {at} --unsigned")).unwrap();
    fs::rename(dir.path().join("cap-3.touchstone"), dir.path().join("cap-4.touchstone")).unwrap();
    let sign = |name: &str| tools(&format!("sign {at}/{name} --key {at}/mine.key"));
    assert!(sign("cap-4.touchstone").unwrap_err().to_string().contains("holds cap-3.touchstone"));
    fs::write(dir.path().join("cap-5.touchstone"), "no tar").unwrap();
    assert!(sign("cap-5.touchstone").is_err());
    assert!(sign("cap.tar").unwrap_err().to_string().contains("NAME-VERSION.touchstone"));
    assert!(!dir.path().join("cap-4.touchstone.minisig").exists());
}
