//! Decides which kernel modules go into the image and in which order they load. What a module depends on stands in
//! the module itself (`depends=` of its `.modinfo`), so no index of the distribution is needed. Loads nothing; called
//! by `assemble`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::elf::Elf;
use crate::error::{Error, Result};

/// The sets that images carry: `modules.txt` of this crate.
pub const SETS: &str = include_str!("../modules.txt");

/// A dependency chain deeper than this is a loop.
const DEPTH_MAX: usize = 32;

/// What one set wants, in the order written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSet {
    /// The set's name: the agent loads `/modules/<name>.list`.
    pub name: String,
    /// Its modules.
    pub modules: Vec<Wanted>,
}

/// A module that a set wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// Whether a kernel without it is refused.
    pub required: bool,
}

/// One set with all that its modules need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadList {
    /// The set's name.
    pub name: String,
    /// Module names; each comes after all that it depends on.
    pub modules: Vec<String>,
}

/// The modules that a kernel package has.
#[derive(Debug)]
pub struct ModuleTree {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

/// Reads a list of sets: `[set]` lines, then one module a line; `#` starts a comment.
pub fn parse_sets(text: &str) -> Result<Vec<WantedSet>> {
    let mut sets: Vec<WantedSet> = Vec::new();
    for line in text
        .lines()
        .map(|l| l.split('#').next().unwrap_or_default().trim())
        .filter(|l| !l.is_empty())
    {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            sets.push(WantedSet {
                name: name.to_owned(),
                modules: Vec::new(),
            });
            continue;
        }
        let set = sets.last_mut().ok_or_else(|| Error::Module {
            module: line.to_owned(),
            message: "it stands before the first `[set]`".to_owned(),
        })?;
        let name = line.strip_suffix('?');
        set.modules.push(Wanted {
            name: plain(name.unwrap_or(line)),
            required: name.is_none(),
        });
    }
    Ok(sets)
}

/// The load order of every set. `needs` gives what a module depends on: `None` for one that does not exist, and
/// nothing for one that is built in. A later set leaves out what an earlier one loads.
pub fn load_lists(sets: &[WantedSet], needs: &mut dyn FnMut(&str) -> Result<Option<Needs>>) -> Result<Vec<LoadList>> {
    let mut order = Order {
        needs,
        loaded: BTreeSet::new(),
    };
    let mut lists = Vec::new();
    for set in sets {
        let mut modules = Vec::new();
        for wanted in &set.modules {
            let optional = if wanted.required {
                Missing::Refused
            } else {
                Missing::LeftOut
            };
            order.place(&wanted.name, optional, DEPTH_MAX, &mut modules)?;
        }
        lists.push(LoadList {
            name: set.name.clone(),
            modules,
        });
    }
    Ok(lists)
}

/// What a module needs before it loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needs {
    /// It is part of the kernel: nothing is loaded.
    Builtin,
    /// These modules first.
    Modules(Vec<String>),
}

#[derive(Clone, Copy, PartialEq)]
enum Missing {
    Refused,
    LeftOut,
}

struct Order<'a> {
    needs: &'a mut dyn FnMut(&str) -> Result<Option<Needs>>,
    loaded: BTreeSet<String>,
}

impl Order<'_> {
    fn place(&mut self, name: &str, missing: Missing, depth: usize, list: &mut Vec<String>) -> Result<()> {
        let refuse = |message: &str| Error::Module {
            module: name.to_owned(),
            message: message.to_owned(),
        };
        if self.loaded.contains(name) {
            return Ok(());
        }
        if depth == 0 {
            return Err(refuse("its dependencies form a loop"));
        }
        match (self.needs)(name)? {
            None if missing == Missing::LeftOut => return Ok(()),
            None => return Err(refuse("this kernel does not have it")),
            Some(Needs::Builtin) => return Ok(()),
            Some(Needs::Modules(needed)) => {
                for module in needed {
                    self.place(&module, Missing::Refused, depth - 1, list)?;
                }
            }
        }
        self.loaded.insert(name.to_owned());
        list.push(name.to_owned());
        Ok(())
    }
}

impl ModuleTree {
    /// Finds every module under `folder` (`lib/modules/<version>`).
    pub fn open(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.join("kernel")];
        while let Some(current) = folders.pop() {
            for entry in fs::read_dir(&current).map_err(Error::file("list", &current))? {
                let path = entry.map_err(Error::file("list", &current))?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(name) = module_name(&path) {
                    files.insert(name, path);
                }
            }
        }
        let path = folder.join("modules.builtin");
        let builtin = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let builtin = builtin
            .lines()
            .filter_map(|line| module_name(Path::new(line)))
            .collect();
        Ok(Self { files, builtin })
    }

    /// The bytes of a module.
    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.files.get(name).ok_or_else(|| Error::Module {
            module: name.to_owned(),
            message: "this kernel does not have it".to_owned(),
        })?;
        fs::read(path).map_err(Error::file("read", path))
    }

    /// What a module needs before it loads; `None`: there is no such module.
    pub fn needs(&self, name: &str) -> Result<Option<Needs>> {
        if self.builtin.contains(name) {
            return Ok(Some(Needs::Builtin));
        }
        if !self.files.contains_key(name) {
            return Ok(None);
        }
        let needed = depends(&self.read(name)?).ok_or_else(|| Error::Module {
            module: name.to_owned(),
            message: "its file has no `.modinfo` section with `depends=`".to_owned(),
        })?;
        Ok(Some(Needs::Modules(needed)))
    }
}

/// What a module's file says it depends on.
fn depends(module: &[u8]) -> Option<Vec<String>> {
    let info = Elf::parse(module)?.section(".modinfo")?;
    let line = info
        .split(|b| *b == 0)
        .find_map(|line| line.strip_prefix(b"depends="))?;
    let names = std::str::from_utf8(line).ok()?;
    Some(names.split(',').filter(|n| !n.is_empty()).map(plain).collect())
}

/// `virtio_rng` for `kernel/drivers/char/hw_random/virtio-rng.ko`.
fn module_name(path: &Path) -> Option<String> {
    Some(plain(path.file_name()?.to_str()?.strip_suffix(".ko")?))
}

/// The kernel takes `-` and `_` in module names for the same.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(sets: &str, kernel: &[(&str, &[&str])]) -> Result<Vec<LoadList>> {
        let mut needs = |name: &str| {
            let entry = kernel.iter().find(|(n, _)| *n == name);
            Ok(entry.map(|(_, needed)| match needed {
                ["builtin"] => Needs::Builtin,
                modules => Needs::Modules(modules.iter().map(|m| (*m).to_owned()).collect()),
            }))
        };
        load_lists(&parse_sets(sets)?, &mut needs)
    }

    #[test]
    fn every_module_comes_after_what_it_depends_on_and_once() {
        let kernel: &[(&str, &[&str])] = &[
            ("virtio", &[]),
            ("ring", &["virtio"]),
            ("net", &["ring", "virtio"]),
            ("blk", &["ring", "virtio"]),
            ("crc", &["builtin"]),
        ];
        let lists = order("[net]\nnet # the card\n[disk]\nblk\ncrc\nnone?\n", kernel).unwrap();
        assert_eq!(lists[0].modules, ["virtio", "ring", "net"]);
        assert_eq!(lists[1].modules, ["blk"]);
    }

    #[test]
    fn a_missing_module_is_refused_by_name() {
        let message = order("[net]\nno-such-card\n", &[]).unwrap_err().to_string();
        assert_eq!(message, "kernel module `no_such_card`: this kernel does not have it");
    }

    #[test]
    fn a_loop_of_dependencies_ends() {
        let message = order("[net]\na\n", &[("a", &["b"]), ("b", &["a"])])
            .unwrap_err()
            .to_string();
        assert!(message.contains("loop"), "{message}");
    }

    #[test]
    fn a_module_outside_of_a_set_is_refused() {
        assert!(parse_sets("veth\n").is_err());
    }

    #[test]
    fn the_shipped_sets_begin_with_net() {
        let names: Vec<String> = parse_sets(SETS).unwrap().into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["net", "container", "disk"]);
    }
}
