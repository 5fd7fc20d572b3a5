//! Signed bundles: made, signed, checked and sent to a camera. What stock `tar` and `minisign` make is the same.

mod keys;
mod make;
mod push;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use touchstone_models::bundle::{ANY_BOARD, BundleName};
use touchstone_models::files::is_safe_name;

/// What can be done with bundles.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Make a pair of keys: NAME.key stays secret, NAME.pub goes onto cameras
    Keygen(KeygenArgs),
    /// Make a bundle of a recipe's folder, and sign it
    Make(MakeArgs),
    /// Sign a bundle that is there, made here or by stock tar
    Sign(SignArgs),
    /// Check a bundle as a camera would: signature, names, content
    Verify(VerifyArgs),
    /// Send a signed bundle to a camera over its serial line or USB
    Push(PushArgs),
}

/// Arguments of `bundle keygen`.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Path and name of both files, without their ends
    #[arg(value_name = "NAME")]
    pub name: PathBuf,
    /// Take the secret key's password from the first line of this file; else it is asked for
    #[arg(long, value_name = "FILE", conflicts_with = "no_password")]
    pub password_file: Option<PathBuf>,
    /// Leave the secret key unprotected: for keys that are kept in a safe place anyway
    #[arg(long)]
    pub no_password: bool,
}

/// The secret key and how it is opened.
#[derive(Debug, Args)]
pub struct SigningArgs {
    /// The secret key, as `bundle keygen` or `minisign -G` made it
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Take its password from the first line of this file; else it is asked for where there is one
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Family of boards that the recipe is for (`family` in the board file), or any
    #[arg(long, value_name = "FAMILY", default_value = ANY_BOARD, value_parser = family)]
    pub board: String,
}

/// Arguments of `bundle make`.
#[derive(Debug, Args)]
pub struct MakeArgs {
    /// The recipe's folder
    #[arg(value_name = "RECIPE")]
    pub recipe: PathBuf,
    /// Folder for NAME-VERSION.touchstone and its signature
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Make the bundle only; sign it later
    #[arg(long, conflicts_with = "key")]
    pub unsigned: bool,
    /// The secret key, as `bundle keygen` or `minisign -G` made it
    #[arg(long, value_name = "FILE", required_unless_present = "unsigned")]
    pub key: Option<PathBuf>,
    /// Take its password from the first line of this file; else it is asked for where there is one
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Family of boards that the recipe is for (`family` in the board file), or any
    #[arg(long, value_name = "FAMILY", default_value = ANY_BOARD, value_parser = family)]
    pub board: String,
}

/// Arguments of `bundle sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// NAME-VERSION.touchstone
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub signing: SigningArgs,
}

/// Arguments of `bundle verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// NAME-VERSION.touchstone, its signature beside it
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Folder of the public keys that the camera trusts
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// Family of boards that it must be for
    #[arg(long, value_name = "FAMILY")]
    pub board: Option<String>,
    /// One JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bundle push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// NAME-VERSION.touchstone, its signature beside it
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// The serial port that the camera's command port is at: /dev/ttyACM0 over USB
    #[arg(long, value_name = "PORT")]
    pub port: PathBuf,
    /// Its speed; of no meaning over USB
    #[arg(long, value_name = "BAUD", default_value_t = 115_200)]
    pub baud: u32,
}

fn family(text: &str) -> Result<String, String> {
    match is_safe_name(text) {
        true => Ok(text.to_owned()),
        false => Err("use 1 to 64 of a-z, 0-9, '-' and '_'".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// What is wrong with recipe, key, bundle or port, and what to do.
pub fn run(command: &BundleCommand) -> Result<()> {
    match command {
        BundleCommand::Keygen(args) => keys::generate(args),
        BundleCommand::Make(args) => make::make(args),
        BundleCommand::Sign(args) => make::sign(&args.bundle, &args.signing),
        BundleCommand::Verify(args) => make::verify(args),
        BundleCommand::Push(args) => push::push(args),
    }
}

/// The name and version in a bundle's path.
fn name_of(path: &std::path::Path) -> Result<BundleName> {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match BundleName::parse(file) {
        Some(name) => Ok(name),
        None => bail!(
            "{}: a bundle is called NAME-VERSION.touchstone, NAME of a-z, 0-9, '-' and '_'",
            path.display()
        ),
    }
}

/// Where a bundle's signature is.
fn signature_of(path: &std::path::Path) -> Result<PathBuf> {
    Ok(path.with_file_name(name_of(path)?.signature()))
}

/// The first line of a file.
fn password(file: Option<&PathBuf>) -> Result<Option<String>> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the password in {}", file.display()))?;
    Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests;
