//! Programs that are linked dynamically, for an image: each with the loader that it asks for and the libraries that it
//! needs, as they are on the computer that builds. Runs nothing. Called by `assemble`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cpio::Archive;
use crate::elf::Elf;
use crate::error::{Error, Result};

/// Where Debian has libraries, and where its loader looks by itself.
const LIBRARY_FOLDERS: [&str; 4] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
];
/// Where they are in the image.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";

/// A program that an image has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file on this computer.
    pub file: PathBuf,
    /// Its path in the image.
    pub path: &'static str,
}

/// Puts programs into the archive, and everything that they are linked to, once.
pub(crate) fn add(archive: &mut Archive, programs: &[Program]) -> Result<()> {
    let mut linked: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for program in programs {
        let bytes = read(&program.file)?;
        link(&program.file, &bytes, &mut linked)?;
        archive.file(program.path, 0o755, bytes);
    }
    for (path, bytes) in linked {
        archive.file(&path, 0o755, bytes);
    }
    Ok(())
}

/// Finds what a file is linked to, and what that is, by its path in the image.
fn link(file: &Path, bytes: &[u8], linked: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let unreadable = || Error::Linked {
        path: file.to_owned(),
        message: "it is no ELF file of this architecture".to_owned(),
    };
    let elf = Elf::parse(bytes).ok_or_else(unreadable)?;
    if let Some(loader) = elf.interpreter() {
        // The same one for every program.
        linked.insert(loader.trim_start_matches('/').to_owned(), read(Path::new(loader))?);
    }
    for name in elf.needed().ok_or_else(unreadable)? {
        let path = format!("{LIBRARIES}/{name}");
        if linked.contains_key(&path) {
            continue;
        }
        let found = find(name).ok_or_else(|| Error::Linked {
            path: file.to_owned(),
            message: format!("it needs {name}, which is in none of {}", LIBRARY_FOLDERS.join(", ")),
        })?;
        let library = read(&found)?;
        linked.insert(path, library.clone());
        link(&found, &library, linked)?;
    }
    Ok(())
}

fn find(name: &str) -> Option<PathBuf> {
    let places = LIBRARY_FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    places.into_iter().find(|place| place.is_file())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::file("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_brings_its_loader_and_the_c_library() {
        let file = std::env::current_exe().unwrap();
        let mut linked = BTreeMap::new();
        link(&file, &fs::read(&file).unwrap(), &mut linked).unwrap();
        let paths: Vec<&str> = linked.keys().map(String::as_str).collect();
        assert!(paths.contains(&"lib/x86_64-linux-gnu/libc.so.6"), "{paths:?}");
        assert!(paths.contains(&"lib64/ld-linux-x86-64.so.2"), "{paths:?}");
    }

    #[test]
    fn what_is_no_program_is_refused_by_name() {
        let refused = link(Path::new("notes.txt"), b"no program", &mut BTreeMap::new()).unwrap_err();
        assert!(refused.to_string().contains("notes.txt"), "{refused}");
    }
}
