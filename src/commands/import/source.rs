//! Where states come from: a file, a folder of them, standard input. Reads, and never writes to what it reads.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Result;
use isobar_terraform_compat::account::{Account, Answer, Told, account};
use isobar_terraform_compat::read::{Keys, STATE_MAX_BYTES};

use crate::exit::{Complaint, Exit};

/// A folder is looked through so deep.
const DEPTH_MAX: usize = 6;
/// States of a folder at most.
const STATES_MAX: usize = 1_000;
/// An encrypted state's passphrase, and its key in hex.
const PASSPHRASE: &str = "ISOBAR_STATE_PASSPHRASE";
const KEY: &str = "ISOBAR_STATE_KEY";

/// The account of every state at a path.
pub(super) fn accounts(path: &Path, told: &Told) -> Result<Vec<Account>> {
    let keys = keys()?;
    if path == Path::new("-") {
        let bytes = bounded(io::stdin().lock()).map_err(|error| unreadable("standard input", error))?;
        return Ok(vec![understand("standard input", &bytes, &keys, told)?]);
    }
    let mut files = Vec::new();
    if path.is_dir() {
        find(path, DEPTH_MAX, &mut files).map_err(|error| unreadable(&path.display().to_string(), error))?;
        files.sort();
    } else {
        files.push(path.to_owned());
    }
    if files.is_empty() || files.len() > STATES_MAX {
        let message = format!("{} holds {} states", path.display(), files.len());
        return Err(Complaint::new(Exit::Usage, message)
            .hint(format!(
                "name a file, or a folder with 1 to {STATES_MAX} files *.tfstate"
            ))
            .into());
    }
    files.iter().map(|file| one(file, &keys, told)).collect()
}

fn one(file: &Path, keys: &Keys, told: &Told) -> Result<Account> {
    let name = file.display().to_string();
    let bytes = fs::File::open(file)
        .and_then(bounded)
        .map_err(|error| unreadable(&name, error))?;
    understand(&name, &bytes, keys, told)
}

fn understand(name: &str, bytes: &[u8], keys: &Keys, told: &Told) -> Result<Account> {
    account(name, bytes, keys, told).map_err(|error| {
        let hint = error.hint();
        Complaint::new(Exit::Refused, format!("{name} cannot be imported"))
            .hint(hint)
            .because(error)
            .into()
    })
}

fn find(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        // What is in there is a backend's settings and providers' programs.
        let hidden = entry.file_name() == ".terraform";
        if kind.is_dir() && depth > 0 && !hidden {
            find(&path, depth - 1, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|ending| ending == "tfstate") {
            files.push(path);
        }
        if files.len() > STATES_MAX {
            break;
        }
    }
    Ok(())
}

/// One byte more than a state may have, so that its reader says that it is too long.
fn bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(STATE_MAX_BYTES).unwrap_or(u64::MAX);
    source.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(name: &str, error: io::Error) -> Complaint {
    Complaint::new(Exit::Usage, format!("read {name}"))
        .hint("name a state, a folder with some, or `-`")
        .because(error)
}

/// From the environment: a command line is seen by everybody on the computer.
fn keys() -> Result<Keys> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let key = set(KEY)
        .map(hex::decode)
        .transpose()
        .map_err(|_| Complaint::new(Exit::Usage, format!("{KEY} is no key")).hint("give 32 or 64 digits of hex"))?;
    Ok(Keys {
        passphrase: set(PASSPHRASE),
        key,
    })
}

/// `CONFIG=ACCOUNT[,REGION]`: a configuration may itself have an equals sign in a key.
pub(super) fn told(answers: &[String]) -> Result<Told> {
    let mut told = Told::default();
    for answer in answers {
        let Some((config, rest)) = answer.rsplit_once('=') else {
            return Err(Complaint::new(Exit::Usage, format!("`{answer}` is no answer"))
                .hint("write CONFIG=ACCOUNT,REGION, with the configuration as the report has it")
                .into());
        };
        let (account, region) = rest.split_once(',').unwrap_or((rest, ""));
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        told.0.insert(
            config.to_owned(),
            Answer {
                account: given(account),
                region: given(region),
            },
        );
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_a_configuration_an_account_and_perhaps_a_region() {
        let config = r#"provider["registry.terraform.io/hashicorp/aws"].by["a=b"]"#;
        let read = told(&[
            format!("{config}=123456789012,eu-central-1"),
            "provider.google=shop".to_owned(),
        ])
        .expect("good answers");
        let answer = |account: &str, region: Option<&str>| Answer {
            account: Some(account.to_owned()),
            region: region.map(str::to_owned),
        };
        assert_eq!(read.0[config], answer("123456789012", Some("eu-central-1")));
        assert_eq!(read.0["provider.google"], answer("shop", None));
        assert!(told(&["nothing".to_owned()]).is_err());
    }
}
