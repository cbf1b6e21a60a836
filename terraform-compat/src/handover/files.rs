//! The files of a hand-over, as text: what a person reads, what Terraform reads, what a shell runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{HandOver, Import, import};
use crate::account::{Account, Standing};
use crate::hcl::Found;

/// Every file of a hand-over by its name. What has nothing in it is not there, but the README always is.
///
/// `isobar-hand-over.tf` goes beside the root module's files; `state-rm.sh` is run there; `way-back.tf` is kept.
pub fn files(account: &Account, plan: &HandOver) -> BTreeMap<&'static str, String> {
    let mut files = BTreeMap::new();
    if !plan.removed.is_empty() {
        files.insert("isobar-hand-over.tf", removed(plan));
    }
    if !plan.state_rm.is_empty() {
        files.insert("state-rm.sh", state_rm(plan));
    }
    let back = way_back(account, plan);
    if !back.is_empty() {
        files.insert("way-back.tf", back);
    }
    files.insert("README.md", readme(account, plan));
    files
}

fn removed(plan: &HandOver) -> String {
    let mut text = "# Terraform forgets these and destroys nothing. Delete this file once it is applied.\n".to_owned();
    for block in &plan.removed {
        write!(
            text,
            "\nremoved {{\n  from = {block}\n\n  lifecycle {{\n    destroy = false\n  }}\n}}\n"
        )
        .expect("text grows");
    }
    text
}

fn state_rm(plan: &HandOver) -> String {
    let mut text =
        "#!/bin/sh\n# Terraform forgets these and destroys nothing. Stops at the first that fails.\nset -eu\n"
            .to_owned();
    for address in &plan.state_rm {
        writeln!(text, "terraform state rm {}", quoted_for_a_shell(address)).expect("text grows");
    }
    text
}

fn way_back(account: &Account, plan: &HandOver) -> String {
    let handed: BTreeSet<&str> = plan.handed.iter().map(|object| object.address.as_str()).collect();
    let lines = account.lines.iter().filter(|line| {
        matches!(line.standing, Standing::Candidate { .. }) && handed.contains(line.address.to_string().as_str())
    });
    let mut text = String::new();
    for told in lines.filter_map(import) {
        match told {
            Import::Block { to, id } => {
                let id = quoted_for_hcl(&id);
                write!(text, "\nimport {{\n  to = {to}\n  id = {id}\n}}\n").expect("text grows");
            }
            Import::Impossible { address, why } => write!(text, "\n# {address}: {why}.\n").expect("text grows"),
        }
    }
    match text.is_empty() {
        true => text,
        false => format!(
            "# The way back: put this and the resource blocks into the configuration again, after Isobar has released the\n\
             # objects, and apply.\n{text}"
        ),
    }
}

fn readme(account: &Account, plan: &HandOver) -> String {
    let mut text = format!("# Handing over {}\n\n{}", account.name, order(plan));
    text.push_str(&places("Delete these blocks", &plan.delete));
    text.push_str(&places(
        "Take the instances out of `count` or `for_each` of these blocks",
        &plan.shrink,
    ));
    if !plan.unfound.is_empty() {
        text.push_str(
            "\n## Not found in the files\n\nThey stand in a module from elsewhere, or in files that were not \
                       given. Find and delete them yourself, or do not hand over:\n\n",
        );
        for block in &plan.unfound {
            writeln!(text, "- `{block}`").expect("text grows");
        }
    }
    if !plan.left.is_empty() {
        text.push_str("\n## What stays with Terraform\n\n");
        for (address, left) in &plan.left {
            writeln!(text, "- `{address}`: {}.", left.words()).expect("text grows");
        }
    }
    text
}

/// What to do, in an order in which nothing is destroyed and nothing made twice.
fn order(plan: &HandOver) -> String {
    if plan.handed.is_empty() {
        return "Nothing of it can be handed over.\n".to_owned();
    }
    let mut steps = vec![
        "Let nobody else apply meanwhile. Keep a copy: `terraform state pull > before.tfstate`.".to_owned(),
        "Change the configuration as is said below. **A block that stays makes the next apply create its object a second \
         time. A block that goes without the rest of this makes the next apply destroy its object.** So no apply in between."
            .to_owned(),
    ];
    if !plan.removed.is_empty() {
        steps.push("Copy `isobar-hand-over.tf` beside the root module's files.".to_owned());
    }
    if !plan.state_rm.is_empty() {
        steps.push("Run `sh state-rm.sh` in the root module's folder.".to_owned());
    }
    steps.push(
        "`terraform plan`: it must say `0 to destroy` and create none of these. If it says anything else, stop."
            .to_owned(),
    );
    if !plan.removed.is_empty() {
        steps.push("`terraform apply`. It forgets them and destroys nothing.".to_owned());
    }
    steps.push("Show Isobar what `terraform state pull` prints now. From then on the objects are Isobar's.".to_owned());
    let mut text = String::from("In this order:\n\n");
    for (number, step) in (1..).zip(&steps) {
        writeln!(text, "{number}. {step}").expect("text grows");
    }
    text
}

fn places(what: &str, found: &BTreeSet<Found>) -> String {
    if found.is_empty() {
        return String::new();
    }
    let mut text = format!("\n## {what}\n\n| block | file | lines |\n|---|---|---|\n");
    for Found {
        address,
        file,
        first_line,
        last_line,
    } in found
    {
        writeln!(text, "| `{address}` | {file} | {first_line}-{last_line} |").expect("text grows");
    }
    text
}

/// As one word of a shell, whatever is in it.
fn quoted_for_a_shell(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// As a text of HCL, with nothing in it evaluated.
fn quoted_for_hcl(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
        .replace('\r', "\\r");
    format!("\"{}\"", escaped.replace("${", "$${").replace("%{", "%%{"))
}
