//! Image layouts made by hand, good ones and bad ones: layers from lists of entries, so that a test can write what no
//! honest tool would.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// How a layer is compressed.
#[derive(Clone, Copy)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A layer under construction.
pub(crate) struct Layer(Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// A root with busybox as every command that the tests use.
    pub(crate) fn busybox() -> Self {
        let busybox = fs::read("/usr/bin/busybox").expect("busybox of Debian's busybox-static is there");
        let mut layer = Self::new();
        for folder in ["bin", "etc", "tmp", "data"] {
            layer = layer.folder(folder);
        }
        layer = layer.file("bin/busybox", 0o755, &busybox);
        for command in [
            "sh", "cat", "ls", "echo", "sleep", "id", "true", "false", "mkdir", "mknod", "mount", "kill", "ps", "wget",
            "httpd", "nc", "hostname", "head", "tail", "dd", "stat", "touch", "chown", "ip", "dmesg", "seq", "grep",
            "wc", "timeout", "trap", "unshare",
        ] {
            layer = layer.link(EntryType::Symlink, &format!("bin/{command}"), "busybox");
        }
        layer
            .file(
                "etc/passwd",
                0o644,
                b"root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/sh\n",
            )
            .file("etc/group", 0o644, b"root:x:0:\nweb:x:34:\nmedia:x:77:web\n")
    }

    pub(crate) fn folder(self, path: &str) -> Self {
        self.entry((EntryType::Directory, 0o755), path, "", b"")
    }

    pub(crate) fn file(self, path: &str, mode: u32, content: &[u8]) -> Self {
        self.entry((EntryType::Regular, mode), path, "", content)
    }

    pub(crate) fn link(self, kind: EntryType, path: &str, target: &str) -> Self {
        self.entry((kind, 0o777), path, target, b"")
    }

    /// Any entry, also one that `tar` itself would refuse to write.
    pub(crate) fn entry(mut self, (kind, mode): (EntryType, u32), path: &str, target: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        let raw = header.as_gnu_mut().unwrap();
        raw.name[..path.len()].copy_from_slice(path.as_bytes());
        raw.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// An image under construction.
pub(crate) struct Layout {
    folder: PathBuf,
    layers: Vec<Value>,
    diff_ids: Vec<String>,
    config: Value,
}

impl Layout {
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self {
            folder,
            layers: Vec::new(),
            diff_ids: Vec::new(),
            config: json!({}),
        }
    }

    pub(crate) fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    pub(crate) fn layer(self, layer: Layer, packing: Packing) -> Self {
        let plain = layer.finish();
        let diff_id = digest(&plain);
        self.layer_called(&plain, packing, diff_id)
    }

    /// A layer whose uncompressed digest the configuration gives as `diff_id`.
    pub(crate) fn layer_called(mut self, plain: &[u8], packing: Packing, diff_id: String) -> Self {
        let (bytes, kind) = match packing {
            Packing::Plain => (plain.to_vec(), "application/vnd.oci.image.layer.v1.tar"),
            Packing::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(plain).unwrap();
                (encoder.finish().unwrap(), "application/vnd.oci.image.layer.v1.tar+gzip")
            }
            Packing::Zstd => {
                let half = plain.len() / 2;
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                // Two frames with one to skip between them, as parallel compressors write.
                let mut bytes = ruzstd::encoding::compress_to_vec(&plain[..half], level);
                bytes.extend([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, b'x', b'y', b'z']);
                bytes.extend(ruzstd::encoding::compress_to_vec(&plain[half..], level));
                (bytes, "application/vnd.oci.image.layer.v1.tar+zstd")
            }
        };
        let descriptor = self.blob(&bytes, kind);
        self.layers.push(descriptor);
        self.diff_ids.push(diff_id);
        self
    }

    /// Writes the image and gives its folder.
    pub(crate) fn write(self) -> PathBuf {
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
        });
        let config = self.blob(
            config.to_string().as_bytes(),
            "application/vnd.oci.image.config.v1+json",
        );
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": self.layers});
        let manifest = self.blob(manifest.to_string().as_bytes(), kind);
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(self.folder.join("index.json"), index.to_string()).unwrap();
        self.folder
    }

    fn blob(&self, bytes: &[u8], kind: &str) -> Value {
        let digest = digest(bytes);
        fs::write(self.folder.join("blobs/sha256").join(&digest[7..]), bytes).unwrap();
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    }
}

/// The image that most tests run: busybox in one layer.
pub(crate) fn busybox(folder: &Path) -> PathBuf {
    Layout::new(folder.to_owned())
        .layer(Layer::busybox(), Packing::Gzip)
        .write()
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
