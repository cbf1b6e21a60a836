//! Puts kernel, modules and agent together into an image folder: `vmlinux`, `initramfs` and `manifest.json`. Each file
//! is written whole or not at all, the manifest last. Called by the command and by whoever publishes images.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cpio::Archive;
use crate::elf::Elf;
use crate::error::{Error, Result};
use crate::kernel;
use crate::manifest::{self, ImageFile, Manifest};
use crate::modules::{self, LoadList, ModuleTree};
use crate::package::{self, KernelPackage, PackageSource};
use crate::programs::{self, Program};

/// Name of the kernel's file.
pub const KERNEL_FILE: &str = "vmlinux";
/// Name of the initramfs' file.
pub const INITRAMFS_FILE: &str = "initramfs";
/// Where the kernel looks for the first program.
const INIT: &str = "init";
/// Where HTTPS clients look for authorities.
const CA_FILE: &str = "etc/ssl/certs/ca-certificates.crt";
/// Best packing: done once, unpacked at every boot.
const ZSTD_LEVEL: i32 = 19;

/// The kernel's command line, without what a provider adds. `panic=-1`: a kernel that cannot go on reboots, which the
/// provider sees as the machine's end. `cryptomgr.notests`: the kernel's self-tests of its ciphers cost boot time.
/// `random.trust_cpu`: the processor seeds the random numbers, so that the first key needs no waiting.
pub const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 cryptomgr.notests random.trust_cpu=on";

/// What an image is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// The agent: a static x86-64 binary.
    pub agent: PathBuf,
    /// What machines that boot it are for.
    pub purpose: Purpose,
    /// The kernel.
    pub kernel: PackageSource,
    /// The authorities that the node trusts for HTTPS registries.
    pub ca_bundle: PathBuf,
    /// Where packages are kept.
    pub cache: PathBuf,
    /// How the initramfs is stored.
    pub packing: Packing,
}

/// What machines that boot an image are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// They are nodes: they run containers.
    Node,
    /// They run an engine, with these programs.
    Engine(Vec<Program>),
}

impl Purpose {
    /// How the ids of its images begin.
    fn name(&self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Engine(_) => "engine",
        }
    }

    /// The sets of kernel modules that it carries.
    fn sets(&self) -> [&'static str; 2] {
        match self {
            Self::Node => ["net", "container"],
            Self::Engine(_) => ["net", "disk"],
        }
    }
}

/// How the initramfs is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is: boots faster where loading is cheap, as in QEMU.
    Raw,
    /// With zstd: smaller to publish.
    Zstd,
}

/// Builds the image into `out`.
pub fn build(inputs: &Inputs, out: &Path) -> Result<Manifest> {
    let package = package::obtain(&inputs.kernel, &inputs.cache)?;
    let agent = read(&inputs.agent)?;
    check_static(&inputs.agent, &agent)?;
    let kernel = unpack_kernel(&package)?;
    let initramfs = pack(
        initramfs((&agent, &inputs.purpose), &read(&inputs.ca_bundle)?, &package.modules)?,
        inputs.packing,
        out,
    )?;

    let kernel_file = ImageFile::of(KERNEL_FILE, &kernel);
    let initramfs_file = ImageFile::of(INITRAMFS_FILE, &initramfs);
    let manifest = Manifest {
        format: manifest::FORMAT,
        id: manifest::image_id(inputs.purpose.name(), &kernel_file, &initramfs_file, COMMAND_LINE),
        architecture: "x86_64".to_owned(),
        kernel_release: package.release,
        kernel_package: package.package,
        command_line: COMMAND_LINE.to_owned(),
        kernel: kernel_file,
        initramfs: initramfs_file,
        agent: ImageFile::of(INIT, &agent),
    };
    fs::create_dir_all(out).map_err(Error::file("create", out))?;
    write(&out.join(KERNEL_FILE), &kernel)?;
    write(&out.join(INITRAMFS_FILE), &initramfs)?;
    let mut text = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
    text.push(b'\n');
    write(&out.join(manifest::FILE), &text)?;
    Ok(manifest)
}

fn unpack_kernel(package: &KernelPackage) -> Result<Vec<u8>> {
    kernel::vmlinux(&read(&package.vmlinuz)?).map_err(|why| Error::Kernel {
        path: package.vmlinuz.clone(),
        message: why.to_string(),
    })
}

/// A dynamic agent would boot into a kernel panic without a word of why.
fn check_static(path: &Path, agent: &[u8]) -> Result<()> {
    let refuse = |message| Error::Agent {
        path: path.to_owned(),
        message,
    };
    match Elf::parse(agent).and_then(|elf| elf.is_dynamic()) {
        Some(false) => Ok(()),
        Some(true) => Err(refuse("it asks for a dynamic loader, which the image does not have")),
        None => Err(refuse("it is no ELF file of this architecture")),
    }
}

/// The archive that the kernel unpacks into its root.
fn initramfs((agent, purpose): (&[u8], &Purpose), ca_bundle: &[u8], modules: &Path) -> Result<Vec<u8>> {
    let tree = ModuleTree::open(modules)?;
    let mut sets = modules::parse_sets(modules::SETS)?;
    sets.retain(|set| purpose.sets().contains(&set.name.as_str()));
    let lists = modules::load_lists(&sets, &mut |name| tree.needs(name))?;
    let mut archive = Archive::default();
    archive.file(INIT, 0o755, agent);
    for (path, mode) in [
        ("dev", 0o755),
        ("newroot", 0o755),
        ("proc", 0o555),
        ("root", 0o700),
        ("run", 0o755),
    ] {
        archive.directory(path, mode);
    }
    for (path, mode) in [("sys", 0o555), ("tmp", 0o1777), ("var/lib", 0o755)] {
        archive.directory(path, mode);
    }
    archive.file("etc/passwd", 0o644, "root:x:0:0:root:/root:/sbin/nologin\n");
    archive.file("etc/group", 0o644, "root:x:0:\n");
    archive.file("etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n");
    archive.file("etc/resolv.conf", 0o644, "");
    archive.file(CA_FILE, 0o644, ca_bundle);
    add_modules(&mut archive, &tree, &lists)?;
    match purpose {
        Purpose::Node => {}
        Purpose::Engine(programs) => programs::add(&mut archive, programs)?,
    }
    archive.finish()
}

fn add_modules(archive: &mut Archive, tree: &ModuleTree, lists: &[LoadList]) -> Result<()> {
    for list in lists {
        let mut lines = list.modules.join("\n");
        lines.push('\n');
        archive.file(&format!("modules/{}.list", list.name), 0o644, lines);
        for module in &list.modules {
            archive.file(&format!("modules/{module}.ko"), 0o644, tree.read(module)?);
        }
    }
    Ok(())
}

fn pack(archive: Vec<u8>, packing: Packing, out: &Path) -> Result<Vec<u8>> {
    match packing {
        Packing::Raw => Ok(archive),
        Packing::Zstd => zstd::encode_all(archive.as_slice(), ZSTD_LEVEL).map_err(Error::file("pack", out)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::file("read", path))
}

/// Writes beside the target and renames: a machine that boots meanwhile sees the old file or the new one.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).map_err(Error::file("write", &beside))?;
    fs::rename(&beside, path).map_err(Error::file("replace", path))
}
