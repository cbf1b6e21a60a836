//! The image of Debian's real kernel package. Needs `--features debian`: `apt-get` downloads the package, unless
//! ISOBAR_CACHE has it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use isobar_node_image_image::assemble::{self, INITRAMFS_FILE, Inputs, KERNEL_FILE, Packing, Purpose};
use isobar_node_image_image::manifest::{self, Manifest};
use isobar_node_image_image::modules::{ModuleTree, Needs, SETS, load_lists, parse_sets};
use isobar_node_image_image::package::{PackageSource, obtain};
use isobar_node_image_image::{Error, elf::Elf};

fn cache() -> PathBuf {
    let cache = std::env::var_os("ISOBAR_CACHE").map(PathBuf::from);
    cache
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")))
        .join("kernel")
}

/// A static program as far as its headers tell; it is never run.
fn agent(words: &str) -> Vec<u8> {
    let mut program = vec![0; 64];
    program[..6].copy_from_slice(b"\x7fELF\x02\x01");
    program[18] = 62;
    program.extend_from_slice(words.as_bytes());
    program
}

fn build(folder: &Path, agent: &[u8], packing: Packing) -> Result<Manifest, Error> {
    fs::create_dir_all(folder).unwrap();
    let inputs = Inputs {
        purpose: Purpose::Node,
        agent: folder.join("agent"),
        kernel: PackageSource::Newest,
        ca_bundle: folder.join("authorities"),
        cache: cache(),
        packing,
    };
    fs::write(&inputs.agent, agent).unwrap();
    fs::write(&inputs.ca_bundle, "authorities\n").unwrap();
    assemble::build(&inputs, &folder.join("image"))
}

#[test]
fn same_inputs_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    for packing in [Packing::Raw, Packing::Zstd] {
        let id = build(&first, &agent("one"), packing).unwrap().id;
        assert_eq!(build(&second, &agent("one"), packing).unwrap().id, id);
        for file in [KERNEL_FILE, INITRAMFS_FILE, manifest::FILE] {
            let [a, b] = [&first, &second].map(|f| fs::read(f.join("image").join(file)).unwrap());
            assert!(a == b, "{file} differs between two builds");
        }
        assert_ne!(build(&second, &agent("two"), packing).unwrap().id, id);
    }
}

#[test]
fn debians_kernel_is_unpacked_to_an_elf_file() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = build(folder.path(), &agent("one"), Packing::Raw).unwrap();
    let kernel = fs::read(folder.path().join("image").join(KERNEL_FILE)).unwrap();
    assert_eq!(kernel.len(), manifest.kernel.bytes);
    // QEMU finds the entry for direct boot in the notes.
    assert!(Elf::parse(&kernel).unwrap().section(".notes").is_some());
}

#[test]
fn every_module_loads_after_what_it_depends_on() {
    let package = obtain(&PackageSource::Newest, &cache()).unwrap();
    let tree = ModuleTree::open(&package.modules).unwrap();
    let lists = load_lists(&parse_sets(SETS).unwrap(), &mut |name| tree.needs(name)).unwrap();
    let mut loaded = BTreeSet::new();
    for module in lists.iter().flat_map(|list| &list.modules) {
        if let Some(Needs::Modules(needed)) = tree.needs(module).unwrap() {
            for needed in needed {
                let there = loaded.contains(&needed) || tree.needs(&needed).unwrap() == Some(Needs::Builtin);
                assert!(there, "{module} loads before {needed}");
            }
        }
        assert!(loaded.insert(module.clone()), "{module} loads twice");
    }
    for wanted in ["virtio_net", "virtio_mmio", "qemu_fw_cfg", "overlay", "veth", "nft_nat"] {
        assert!(loaded.contains(wanted), "{wanted} is not in the image");
    }
}

#[test]
fn a_dynamic_agent_is_refused_with_how_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut dynamic = agent("");
    // One program header, at once after the file's header, that names a loader.
    dynamic[32] = 64;
    dynamic[54] = 56;
    dynamic[56] = 1;
    dynamic.extend_from_slice(&[3, 0, 0, 0]);
    dynamic.resize(64 + 56, 0);
    let message = build(folder.path(), &dynamic, Packing::Raw).unwrap_err().to_string();
    assert!(
        message.contains("dynamic loader") && message.contains("crt-static"),
        "{message}"
    );
}
