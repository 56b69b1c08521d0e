//! Passphrases: from an environment variable for scripts, otherwise from the terminal, without echo.
use anyhow::{Context, bail};
use std::io::{self, IsTerminal as _, Read as _};
use std::path::Path;
use zeroize::Zeroizing;

/// The environment variable of the passphrase.
pub const VARIABLE: &str = "HOTSHOE_PASSPHRASE";

/// The passphrase for a new key, asked for twice.
pub fn choose() -> anyhow::Result<Zeroizing<String>> {
    if let Some(passphrase) = from_variable()? {
        return Ok(passphrase);
    }
    let first = ask("Passphrase for the new key: ").with_context(|| {
        format!("a new key needs a passphrase; set {VARIABLE}, or give --no-passphrase")
    })?;
    if first.is_empty() {
        bail!("the passphrase is empty; give --no-passphrase to leave the key unencrypted");
    }
    if first != ask("Repeat the passphrase: ")? {
        bail!("the two passphrases differ; nothing was written");
    }
    Ok(first)
}

/// The passphrase of an existing key.
pub fn for_existing(key: &Path) -> anyhow::Result<Zeroizing<String>> {
    match from_variable()? {
        Some(passphrase) => Ok(passphrase),
        None => ask(&format!("Passphrase for {}: ", key.display()))
            .with_context(|| format!("{} is encrypted; set {VARIABLE}", key.display())),
    }
}

/// A secret's value: from standard input, of at most `most` bytes, or asked for on a terminal. One line feed at its end does not count.
pub fn secret(name: &str, most: usize) -> anyhow::Result<Zeroizing<String>> {
    let input = io::stdin();
    if input.is_terminal() {
        return ask(&format!("Value of {name}: "));
    }
    let mut value = Zeroizing::new(String::new());
    input
        .take(most as u64 + 2)
        .read_to_string(&mut value)
        .context("cannot read the secret from standard input")?;
    if value.ends_with('\n') {
        value.pop();
    }
    Ok(value)
}

fn from_variable() -> anyhow::Result<Option<Zeroizing<String>>> {
    match std::env::var(VARIABLE) {
        Ok(passphrase) if passphrase.is_empty() => {
            bail!("{VARIABLE} is set but empty; unset it to be asked")
        }
        Ok(passphrase) => Ok(Some(Zeroizing::new(passphrase))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bail!("{VARIABLE} is not UTF-8"),
    }
}

fn ask(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    rpassword::prompt_password(prompt)
        .map(Zeroizing::new)
        .context("there is no terminal to ask for a passphrase")
}
