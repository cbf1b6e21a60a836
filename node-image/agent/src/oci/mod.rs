//! Images: pulled from registries, checked, unpacked once a layer, shared by the containers made from them, dropped when
//! room is short. The folder is this process's own and starts empty; what it holds is only a cache. Never runs anything.

pub(crate) mod config;
mod decompress;
mod reference;
mod registry;
pub(crate) mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci_client::Reference;
use oci_client::manifest::OciImageManifest;

use self::config::ImageConfig;
use self::registry::{Registry, no_room};
use crate::runtime::RuntimeError;

/// Largest configuration of an image, in bytes.
const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Largest layer, compressed, in bytes.
const BLOB_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Largest layer, uncompressed, in bytes.
pub(crate) const LAYER_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Most entries of a layer.
pub(crate) const LAYER_ENTRIES_MAX: u64 = 1_000_000;
/// Most layers of an image: their names share one page of mount options.
const LAYERS_MAX: usize = 100;
/// Length of a layer's folder name: 128 bits of its digest, in hex.
const LAYER_NAME_CHARS: usize = 32;
/// Most images kept that nothing runs from.
const IDLE_IMAGES_MAX: usize = 4;

/// An unpacked image.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) digest: String,
    pub(crate) config: ImageConfig,
    /// Folders of its layers below the store's, the topmost first.
    pub(crate) layers: Vec<String>,
}

/// Unpacks a layer's blob into an empty folder and gives the digest of what was in it.
pub(crate) trait Unpack: Send + Sync {
    /// Done in a process of its own.
    fn unpack(&self, blob: OwnedFd, target: &Path) -> impl Future<Output = Result<String, RuntimeError>> + Send;
}

/// All images of the node.
pub(crate) struct ImageStore<U> {
    folder: PathBuf,
    registry: Registry,
    unpack: U,
    known: Mutex<Known>,
    /// One pull at a time: two images that share a layer fetch it once.
    pulling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// By digest, with the number of its last use.
    images: BTreeMap<String, (Arc<Image>, u64)>,
    /// What each reference last meant.
    meanings: BTreeMap<String, String>,
    uses: u64,
}

impl<U: Unpack> ImageStore<U> {
    /// Empties the folder.
    pub(crate) fn open(
        folder: PathBuf,
        insecure: &[String],
        ca_file: Option<&Path>,
        unpack: U,
    ) -> Result<Self, RuntimeError> {
        let emptied = match fs::remove_dir_all(folder.join("layers")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => fs::create_dir_all(folder.join("layers")),
        };
        emptied.map_err(|error| RuntimeError::Failed(format!("open the images' folder: {error}")))?;
        let registry = Registry::new(insecure, ca_file)?;
        Ok(Self {
            folder,
            registry,
            unpack,
            known: Mutex::default(),
            pulling: tokio::sync::Mutex::default(),
        })
    }

    /// The folder that layers' names are relative to.
    pub(crate) fn layers_folder(&self) -> PathBuf {
        self.folder.join("layers")
    }

    /// An image that is there.
    pub(crate) fn get(&self, digest: &str) -> Option<Arc<Image>> {
        self.known().touch(digest)
    }

    /// Makes an image be there. A tag is asked for each time; while the registry is away, what it last meant serves.
    pub(crate) async fn pull(&self, named: &str) -> Result<Arc<Image>, RuntimeError> {
        let reference = reference::parse(named)
            .map_err(|error| RuntimeError::NoSuchImage(format!("`{named}` names no image: {error}")))?;
        if let Some(image) = reference.digest().and_then(|digest| self.get(digest)) {
            return Ok(image);
        }
        let _turn = self.pulling.lock().await;
        let (manifest, digest) = match self.registry.manifest(&reference).await {
            Ok(found) => found,
            Err(RuntimeError::RegistryAway(why)) => {
                let known = self.known().meaning(named);
                return known
                    .inspect(|_| tracing::warn!(image = named, why, "registry is away: using the image that is here"))
                    .ok_or(RuntimeError::RegistryAway(why));
            }
            Err(error) => return Err(error),
        };
        let image = match self.get(&digest) {
            Some(image) => image,
            None => self.fetch_with_room(&reference, &manifest, &digest).await?,
        };
        self.known().remember(named, &image);
        self.forget_idle(IDLE_IMAGES_MAX);
        Ok(image)
    }

    /// Tries again with every idle image gone if there is no room.
    async fn fetch_with_room(
        &self,
        reference: &Reference,
        manifest: &OciImageManifest,
        digest: &str,
    ) -> Result<Arc<Image>, RuntimeError> {
        match self.fetch(reference, manifest, digest).await {
            Err(RuntimeError::Full(_)) => {
                self.forget_idle(0);
                self.fetch(reference, manifest, digest).await
            }
            done => done,
        }
    }

    async fn fetch(
        &self,
        reference: &Reference,
        manifest: &OciImageManifest,
        digest: &str,
    ) -> Result<Arc<Image>, RuntimeError> {
        let mut json = Vec::new();
        self.registry
            .blob(reference, &manifest.config, CONFIG_BYTES_MAX, &mut json)
            .await?;
        let config = ImageConfig::parse(&json)?;
        if config.diff_ids.len() != manifest.layers.len() || config.diff_ids.is_empty() {
            return Err(RuntimeError::BadImage(format!(
                "{reference}: its manifest has {} layers, its configuration {}",
                manifest.layers.len(),
                config.diff_ids.len()
            )));
        }
        if config.diff_ids.len() > LAYERS_MAX {
            return Err(RuntimeError::BadImage(format!(
                "{reference}: more than {LAYERS_MAX} layers"
            )));
        }
        let mut layers = Vec::new();
        for (blob, diff_id) in manifest.layers.iter().zip(&config.diff_ids) {
            let name = layer_name(diff_id)?;
            let target = self.layers_folder().join(&name);
            if !target.exists() {
                let file = self.scratch_file()?;
                let mut writer = file.try_clone().map_err(|error| no_room(&error))?;
                self.registry.blob(reference, blob, BLOB_BYTES_MAX, &mut writer).await?;
                self.add_layer(file, diff_id, &target).await?;
            }
            layers.insert(0, name);
        }
        Ok(Arc::new(Image {
            digest: digest.to_owned(),
            config,
            layers,
        }))
    }

    /// A layer gets its name when it is whole.
    async fn add_layer(&self, mut blob: File, diff_id: &str, target: &Path) -> Result<(), RuntimeError> {
        io::Seek::rewind(&mut blob).map_err(|error| no_room(&error))?;
        let unfinished = self.folder.join("unfinished");
        clear(&unfinished)
            .and_then(|()| fs::create_dir(&unfinished))
            .map_err(|error| no_room(&error))?;
        let unpacked = match self.unpack.unpack(blob.into(), &unfinished).await {
            Ok(found) if found == diff_id => fs::rename(&unfinished, target).map_err(|error| no_room(&error)),
            Ok(found) => Err(RuntimeError::BadImage(format!("layer {diff_id} holds {found}"))),
            Err(error) => Err(error),
        };
        if unpacked.is_err() {
            // What cannot be cleared now is cleared before the next layer.
            let _ = clear(&unfinished);
        }
        unpacked
    }

    /// A file without a name: it goes with its descriptor.
    fn scratch_file(&self) -> Result<File, RuntimeError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_TMPFILE)
            .open(&self.folder)
            .map_err(|error| no_room(&error))
    }

    /// Drops the images that nothing runs from, but for the `keep` used last, and the layers that no image has.
    fn forget_idle(&self, keep: usize) {
        let needed = self.known().forget_idle(keep);
        let Ok(entries) = fs::read_dir(self.layers_folder()) else {
            return;
        };
        for entry in entries.flatten() {
            let keep = entry.file_name().to_str().is_some_and(|name| needed.contains(name));
            if !keep && let Err(error) = clear(&entry.path()) {
                tracing::warn!(%error, "unneeded layer cannot be removed");
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one insert or remove; a panic between two loses at most a cached image.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn touch(&mut self, digest: &str) -> Option<Arc<Image>> {
        self.uses += 1;
        let (image, last_use) = self.images.get_mut(digest)?;
        *last_use = self.uses;
        Some(image.clone())
    }

    fn meaning(&mut self, named: &str) -> Option<Arc<Image>> {
        let digest = self.meanings.get(named)?.clone();
        self.touch(&digest)
    }

    fn remember(&mut self, named: &str, image: &Arc<Image>) {
        self.uses += 1;
        self.images.insert(image.digest.clone(), (image.clone(), self.uses));
        self.meanings.insert(named.to_owned(), image.digest.clone());
    }

    /// Forgets, and gives the layers that are still needed.
    fn forget_idle(&mut self, keep: usize) -> BTreeSet<String> {
        let mut idle: Vec<(u64, String)> = self
            .images
            .iter()
            .filter(|(_, (image, _))| Arc::strong_count(image) == 1)
            .map(|(digest, (_, last_use))| (*last_use, digest.clone()))
            .collect();
        idle.sort();
        let gone = idle.len().saturating_sub(keep);
        for (_, digest) in &idle[..gone] {
            self.images.remove(digest);
        }
        self.meanings.retain(|_, digest| self.images.contains_key(digest));
        self.images
            .values()
            .flat_map(|(image, _)| image.layers.iter().cloned())
            .collect()
    }
}

/// The folder of a layer.
fn layer_name(diff_id: &str) -> Result<String, RuntimeError> {
    diff_id
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(|hex| hex[..LAYER_NAME_CHARS].to_owned())
        .ok_or_else(|| RuntimeError::BadImage(format!("layer digest `{diff_id}` is not a sha256")))
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
