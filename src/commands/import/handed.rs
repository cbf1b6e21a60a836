//! The files of a hand-over: what a person runs so that Terraform forgets what was named and nothing else. Reads the state
//! and the configuration, writes to a new folder, and begins nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::Result;
use isobar_terraform_compat::account::{Account, Standing, Told};
use isobar_terraform_compat::handover::{files, hand_over};
use isobar_terraform_compat::hcl::{HclError, blocks};

use super::source;
use crate::exit::{Complaint, Exit};

/// Modules of a configuration are looked for so deep.
const DEPTH_MAX: usize = 8;
/// Its files at most, and each at most so long.
const FILES_MAX: usize = 10_000;
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Writes the files for the objects of some addresses; gives what stays with Terraform though it was named, and why.
pub(super) fn write(
    into: &Path,
    (state, configuration): (&Path, &Path),
    addresses: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>> {
    let mut accounts = source::accounts(state, &Told::default())?;
    let (Some(mut account), true) = (accounts.pop(), accounts.is_empty()) else {
        return Err(Complaint::new(Exit::Usage, "more than one state")
            .hint("give the one state that the objects came from, as it is now")
            .into());
    };
    only(&mut account, addresses);
    let mut texts = BTreeMap::new();
    gather(configuration, "", DEPTH_MAX, &mut texts).map_err(|error| {
        Complaint::new(Exit::Usage, format!("read {}", configuration.display()))
            .hint("name the folder of Terraform's root module with --config")
            .because(error)
    })?;
    let found = blocks(&texts, "").map_err(|error: HclError| {
        Complaint::new(Exit::Usage, "the configuration cannot be read")
            .hint("`terraform validate` says what is wrong with it")
            .because(error)
    })?;
    let plan = hand_over(&account, &found);
    let put = || -> io::Result<()> {
        fs::create_dir(into)?;
        for (name, text) in files(&account, &plan) {
            File::create_new(into.join(name))?.write_all(text.as_bytes())?;
        }
        Ok(())
    };
    put().map_err(|error| {
        Complaint::new(Exit::Usage, format!("write {}", into.display()))
            .hint("name a new folder: nothing was begun")
            .because(error)
    })?;
    let left = plan.left.iter();
    Ok(left.map(|(address, why)| (address.clone(), why.words())).collect())
}

/// What was not named stays with Terraform.
fn only(account: &mut Account, addresses: &BTreeSet<String>) {
    for line in &mut account.lines {
        if matches!(line.standing, Standing::Candidate { .. }) && !addresses.contains(&line.address.to_string()) {
            line.standing = Standing::Unmanaged {
                attached_to: Vec::new(),
            };
        }
    }
}

/// The files of a configuration and of its local modules, by path from its folder.
fn gather(folder: &Path, within: &str, depth: usize, texts: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name().to_string_lossy().into_owned(), entry.file_type()?);
        let path = format!("{within}{name}");
        // What is in there are copies and providers' programs.
        if kind.is_dir() && depth > 0 && name != ".terraform" {
            gather(&entry.path(), &format!("{path}/"), depth - 1, texts)?;
        } else if kind.is_file() && (name.ends_with(".tf") || name.ends_with(".tf.json")) {
            let mut text = String::new();
            File::open(entry.path())?
                .take(FILE_MAX_BYTES)
                .read_to_string(&mut text)?;
            texts.insert(path, text);
        }
        if texts.len() > FILES_MAX {
            return Err(io::Error::other(format!("more than {FILES_MAX} files")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = r#"{"version": 4, "terraform_version": "1.11.4", "serial": 3, "lineage": "l", "outputs": {}, "resources": [
        {"mode": "managed", "type": "aws_instance", "name": "web", "provider": "provider[\"registry.terraform.io/hashicorp/aws\"]",
         "instances": [{"schema_version": 1, "attributes": {"id": "i-1", "arn": "arn:aws:ec2:eu-central-1:123456789012:instance/i-1"}}]},
        {"mode": "managed", "type": "aws_instance", "name": "db", "provider": "provider[\"registry.terraform.io/hashicorp/aws\"]",
         "instances": [{"schema_version": 1, "attributes": {"id": "i-2", "arn": "arn:aws:ec2:eu-central-1:123456789012:instance/i-2"}}]}]}"#;
    const CONFIGURATION: &str = "resource \"aws_instance\" \"db\" {\n}\n\nresource \"aws_instance\" \"web\" {\n}\n";

    #[test]
    fn the_files_are_of_what_was_named_and_of_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (state, into) = (folder.path().join("now.tfstate"), folder.path().join("hand-over"));
        fs::write(&state, STATE).unwrap();
        fs::write(folder.path().join("main.tf"), CONFIGURATION).unwrap();
        let named = BTreeSet::from(["aws_instance.web".to_owned()]);
        let left = write(&into, (&state, folder.path()), &named).unwrap();
        assert_eq!(left, BTreeMap::new());
        let removed = fs::read_to_string(into.join("isobar-hand-over.tf")).unwrap();
        assert!(removed.contains("from = aws_instance.web"), "{removed}");
        assert!(!removed.contains("aws_instance.db"), "{removed}");
        let readme = fs::read_to_string(into.join("README.md")).unwrap();
        assert!(readme.contains("| `aws_instance.web` | main.tf | 4-5 |"), "{readme}");
        assert!(!readme.contains("aws_instance.db"), "{readme}");
        let again = write(&into, (&state, folder.path()), &named);
        assert!(again.is_err(), "files that somebody may have changed are not replaced");
    }
}
