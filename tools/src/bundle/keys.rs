//! Pairs of keys, as minisign's own.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use minisign::{KeyPair, SecretKey, SecretKeyBox};
use touchstone_models::files::write_atomic;

use super::{KeygenArgs, password};

const COMMENT: &str = "touchstone secret key";

pub(super) fn generate(args: &KeygenArgs) -> Result<()> {
    let (secret, public) = (args.name.with_extension("key"), args.name.with_extension("pub"));
    for file in [&secret, &public] {
        if file.exists() {
            bail!("{} is there already; choose another name", file.display());
        }
    }
    let pair = match (args.no_password, password(args.password_file.as_ref())?) {
        (true, _) => KeyPair::generate_unencrypted_keypair(),
        (false, password) => KeyPair::generate_encrypted_keypair(password),
    }
    .context("cannot make a pair of keys")?;
    // Written so that nobody else can read it at any moment.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&secret)
        .with_context(|| format!("cannot write {}", secret.display()))?;
    file.write_all(&pair.sk.to_box(Some(COMMENT))?.to_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", secret.display()))?;
    write_atomic(&public, &pair.pk.to_box()?.to_bytes())
        .with_context(|| format!("cannot write {}", public.display()))?;
    println!("{}: keep it secret, and a copy of it in a safe place", secret.display());
    println!("{}: put it into the folder recipes.keys of each camera", public.display());
    Ok(())
}

/// Opens a secret key, asking for its password where it has one and none is given.
pub(super) fn open(file: &Path, password: Option<String>) -> Result<SecretKey> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the secret key {}", file.display()))?;
    let read = || SecretKeyBox::from_string(&text);
    let wrong = || {
        format!("{} cannot be opened: is it a secret key, and the password right?", file.display())
    };
    if let Ok(key) = read().with_context(wrong)?.into_unencrypted_secret_key() {
        return Ok(key);
    }
    read().with_context(wrong)?.into_secret_key(password).with_context(wrong)
}
