//! The files of a hand-over, by Terraform and OpenTofu themselves: what is handed over is forgotten and not destroyed, single
//! instances too, and the way back imports it again. `terraform_data` is built into both programs; here it stands for machines.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use isobar_engine_model::object::{Fields, ObjectId, ObjectType};
use isobar_terraform_compat::account::{Account, Standing, Told, account};
use isobar_terraform_compat::handover::{HandOver, NotConfirmed, confirm, declared, files, hand_over};
use isobar_terraform_compat::hcl::{Blocks, blocks};
use isobar_terraform_compat::identity::{Cloud, Identified, Part, What};
use isobar_terraform_compat::read::Keys;

/// A block with keys, one in a module that is called twice, and one that stays.
const MAIN: &str = r#"
resource "terraform_data" "web" {
  for_each = toset(["a", "it's"])
  input    = each.key
}

resource "terraform_data" "stays" {}

module "net" {
  for_each = toset(["x", "y"])
  source   = "./net"
}
"#;
const NET: &str = "resource \"terraform_data\" \"subnet\" {}\n";

struct Folder {
    program: PathBuf,
    at: tempfile::TempDir,
}

impl Folder {
    fn new(program: &Path) -> Self {
        let at = tempfile::tempdir().unwrap();
        fs::create_dir(at.path().join("net")).unwrap();
        let folder = Self {
            program: program.to_owned(),
            at,
        };
        folder.write("main.tf", MAIN);
        folder.write("net/net.tf", NET);
        folder.run(&["init", "-input=false"]);
        folder.run(&["apply", "-auto-approve", "-input=false"]);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at.path().join(name), text).unwrap();
    }

    fn told(&self, command: &mut Command) -> String {
        let path = std::env::join_paths(
            std::iter::once(self.at.path().join("bin"))
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let ran = command
            .current_dir(self.at.path())
            .env("PATH", path.unwrap())
            .env("HOME", self.at.path())
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_CLI_ARGS", "-no-color")
            .env_remove("TF_CLI_CONFIG_FILE")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(
            ran.status.success(),
            "{command:?}\n{told}\n{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        told
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.told(Command::new(&self.program).args(arguments))
    }

    /// As the lines of the script say, where `terraform` is this program.
    fn run_script(&self, name: &str) {
        let bin = self.at.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let _gone = fs::remove_file(bin.join("terraform"));
        std::os::unix::fs::symlink(&self.program, bin.join("terraform")).unwrap();
        self.told(Command::new("sh").arg(name));
    }

    /// The state's account, in which what `is_machine` says is a machine of AWS.
    fn account(&self, is_machine: impl Fn(&str) -> bool) -> Account {
        let state = self.run(&["state", "pull"]);
        let mut account = account("shop", state.as_bytes(), &Keys::default(), &Told::default()).unwrap();
        for line in &mut account.lines {
            let address = line.address.to_string();
            if is_machine(&address) {
                let unknown = || Part::Unknown { ask: "" };
                line.standing = Standing::Candidate {
                    identified: Identified {
                        cloud: Cloud::Aws,
                        what: What::Machine,
                        account: unknown(),
                        region: unknown(),
                        zone: None,
                        id: format!("i-{}", address.len()),
                        kind: ObjectType("instance".to_owned()),
                        object: ObjectId(format!("i-{}", address.len())),
                        fields: Fields::new(),
                    },
                };
            }
        }
        account
    }

    fn blocks(&self) -> Blocks {
        let read = |name: &str| (name.to_owned(), fs::read_to_string(self.at.path().join(name)).unwrap());
        blocks(&BTreeMap::from(["main.tf", "net/net.tf"].map(read)), "").unwrap()
    }

    /// Deletes the blocks that a hand-over names, by their lines.
    fn delete_blocks(&self, plan: &HandOver) {
        for found in &plan.delete {
            let path = self.at.path().join(&found.file);
            let text = fs::read_to_string(&path).unwrap();
            let kept = text.lines().enumerate().filter_map(|(number, line)| {
                let gone = (found.first_line..=found.last_line).contains(&(number + 1));
                (!gone).then_some(line)
            });
            fs::write(&path, kept.collect::<Vec<_>>().join("\n")).unwrap();
        }
    }

    fn list(&self) -> Vec<String> {
        self.run(&["state", "list"]).lines().map(str::to_owned).collect()
    }
}

fn programs() -> Vec<PathBuf> {
    let named = std::env::var("TERRAFORMS").expect("`./dev test interop` names the programs");
    let programs: Vec<PathBuf> = named.split(':').map(PathBuf::from).collect();
    assert!(!named.is_empty());
    programs
}

#[test]
fn removed_blocks_forget_and_destroy_nothing_and_the_way_back_imports() {
    for program in programs() {
        let folder = Folder::new(&program);
        let goes = |address: &str| !address.contains("stays");
        let before = folder.account(goes);
        let plan = hand_over(&before, &folder.blocks());
        let removed: Vec<&str> = plan.removed.iter().map(String::as_str).collect();
        assert_eq!(removed, ["module.net.terraform_data.subnet", "terraform_data.web"]);
        assert_eq!((plan.handed.len(), plan.left.len(), plan.delete.len()), (4, 0, 2));
        let files = files(&before, &plan);

        let early = confirm(&before.header, &plan.handed, &folder.account(goes));
        assert!(matches!(early, Err(NotConfirmed::OlderSerial { .. })), "{early:?}");
        folder.write("isobar-hand-over.tf", &files["isobar-hand-over.tf"]);
        folder.delete_blocks(&plan);
        assert!(declared(&folder.blocks(), &plan.handed).is_empty());
        let told = folder.run(&["apply", "-auto-approve", "-input=false"]);
        assert!(told.contains("0 added, 0 changed, 0 destroyed"), "{told}");
        assert_eq!(folder.list(), ["terraform_data.stays"]);
        assert!(confirm(&before.header, &plan.handed, &folder.account(goes)).is_ok());

        fs::remove_file(folder.at.path().join("isobar-hand-over.tf")).unwrap();
        folder.write("main.tf", MAIN);
        folder.write("net/net.tf", NET);
        folder.write("way-back.tf", &files["way-back.tf"]);
        let told = folder.run(&["plan", "-input=false"]);
        assert!(told.contains("4 to import"), "{told}");
        let told = folder.run(&["apply", "-auto-approve", "-input=false"]);
        assert!(told.contains("4 imported, 0 added"), "{told}");
    }
}

#[test]
fn single_instances_are_forgotten_by_state_rm() {
    for program in programs() {
        let folder = Folder::new(&program);
        let goes = |address: &str| address == r#"terraform_data.web["it's"]"#;
        let before = folder.account(goes);
        let plan = hand_over(&before, &folder.blocks());
        assert_eq!((plan.state_rm.len(), plan.removed.len(), plan.shrink.len()), (1, 0, 1));
        folder.write("state-rm.sh", &files(&before, &plan)["state-rm.sh"]);
        folder.run_script("state-rm.sh");
        folder.write("main.tf", &MAIN.replace(r#"["a", "it's"]"#, r#"["a"]"#));
        let told = folder.run(&["plan", "-input=false"]);
        assert!(told.contains("No changes"), "{told}");
        assert_eq!(folder.list().len(), 4);
        assert!(confirm(&before.header, &plan.handed, &folder.account(goes)).is_ok());
    }
}
