//! A recipe's folder becomes a bundle, a bundle is signed, a signed one is checked.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail};
use minisign::PublicKey;
use serde_json::json;
use touchstone_models::bundle::{
    BUNDLE_BYTES_MAX, BundleName, Claim, SIGNATURE_BYTES_MAX, TrustedKeys,
};
use touchstone_models::files;
use touchstone_models::recipe::Recipe;

use super::{MakeArgs, SigningArgs, VerifyArgs, keys, name_of, password, signature_of};

pub(super) fn make(args: &MakeArgs) -> Result<()> {
    let recipe = Recipe::open(&args.recipe)?;
    let name = BundleName { name: recipe.card.name.clone(), version: recipe.card.version };
    let file = args.out.join(name.to_string());
    let mut bytes = Vec::new();
    recipe.pack(&mut bytes)?;
    if bytes.len() as u64 > BUNDLE_BYTES_MAX {
        bail!(
            "{} has {} bytes, a camera takes at most {BUNDLE_BYTES_MAX}; keep fewer golden pictures",
            args.recipe.display(),
            bytes.len()
        );
    }
    std::fs::create_dir_all(&args.out)
        .and_then(|()| files::write_atomic(&file, &bytes))
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!(
        "{}: {} good parts, {} golden parts, {} kB",
        file.display(),
        recipe.prompts.len(),
        recipe.golden_pass.len() + recipe.golden_fail.len(),
        bytes.len() / 1000
    );
    if recipe.golden_pass.is_empty() || recipe.golden_fail.is_empty() {
        println!(
            "note: without golden/pass and golden/fail no camera can try it before it goes live"
        );
    }
    match &args.key {
        Some(key) => {
            let signing = SigningArgs {
                key: key.clone(),
                password_file: args.password_file.clone(),
                board: args.board.clone(),
            };
            sign(&file, &signing)
        }
        None => Ok(()),
    }
}

pub(super) fn sign(bundle: &Path, args: &SigningArgs) -> Result<()> {
    let (name, signature) = (name_of(bundle)?, signature_of(bundle)?);
    // Signing what a camera would not take helps nobody.
    let recipe = Recipe::open_bundle(bundle)?;
    let inside = BundleName { name: recipe.card.name, version: recipe.card.version };
    if inside != name {
        bail!("{} holds {inside}; name it so", bundle.display());
    }
    let secret = keys::open(&args.key, password(args.password_file.as_ref())?)?;
    let public = PublicKey::from_secret_key(&secret).context("the secret key is damaged")?;
    let claim = Claim { name: name.name.clone(), version: name.version, board: args.board.clone() };
    let file = File::open(bundle).with_context(|| format!("cannot read {}", bundle.display()))?;
    let comment = claim.to_string();
    let signed = minisign::sign(
        Some(&public),
        &secret,
        BufReader::new(file),
        Some(&comment),
        Some("touchstone bundle"),
    )
    .with_context(|| format!("cannot sign {}", bundle.display()))?;
    files::write_atomic(&signature, &signed.to_bytes())
        .with_context(|| format!("cannot write {}", signature.display()))?;
    println!("{}: {comment}", signature.display());
    Ok(())
}

pub(super) fn verify(args: &VerifyArgs) -> Result<()> {
    let (name, signature) = (name_of(&args.bundle)?, signature_of(&args.bundle)?);
    let keys = TrustedKeys::open(&args.keys)?;
    let text = files::read_limited(&signature, SIGNATURE_BYTES_MAX)
        .with_context(|| format!("cannot read the signature {}", signature.display()))?;
    let text = String::from_utf8(text).context("the signature is no text")?;
    let cannot = || format!("cannot read {}", args.bundle.display());
    let mut file = File::open(&args.bundle).with_context(cannot)?;
    let size = file.metadata().with_context(cannot)?.len();
    if size > BUNDLE_BYTES_MAX {
        bail!("{}: {size} bytes, at most {BUNDLE_BYTES_MAX} are taken", args.bundle.display());
    }
    let verified =
        keys.verify(&text, &mut file).with_context(|| args.bundle.display().to_string())?;
    let signed = BundleName { name: verified.claim.name.clone(), version: verified.claim.version };
    if signed != name {
        bail!("{} was signed as {signed}; name it so", args.bundle.display());
    }
    if args.board.is_some() && !verified.claim.is_for(args.board.as_deref()) {
        bail!("{} is for boards of the family {}", args.bundle.display(), verified.claim.board);
    }
    let recipe = Recipe::open_bundle(&args.bundle)?;
    let inside = BundleName { name: recipe.card.name.clone(), version: recipe.card.version };
    if inside != signed {
        bail!("{} was signed as {signed} and holds {inside}", args.bundle.display());
    }
    if args.json {
        let line = json!({
            "bundle": args.bundle.display().to_string(), "name": signed.name,
            "version": signed.version, "board": verified.claim.board,
            "key": verified.key.to_string(), "sha256": verified.sha256,
            "model": recipe.card.model.id, "prompts": recipe.prompts.len(),
            "golden_pass": recipe.golden_pass.len(), "golden_fail": recipe.golden_fail.len(),
        });
        println!("{line}");
        return Ok(());
    }
    println!(
        "{}: sound; {}, signed with key {}, model {}, {} good parts, golden parts: {} to pass, {} to fail",
        args.bundle.display(),
        verified.claim,
        verified.key,
        recipe.card.model.id,
        recipe.prompts.len(),
        recipe.golden_pass.len(),
        recipe.golden_fail.len()
    );
    Ok(())
}
