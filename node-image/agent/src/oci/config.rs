//! What an image says about how to run it, checked and bounded: a pure reading of its configuration, and of the user it
//! names. It opens nothing but the image's own account files.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use oci_spec::image::{Arch, ImageConfiguration, Os};

use crate::runtime::RuntimeError;

/// Longest `/etc/passwd` or `/etc/group` that is read, in bytes.
const ACCOUNTS_BYTES_MAX: u64 = 1024 * 1024;

/// How to run an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ImageConfig {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) working_dir: PathBuf,
    /// `user[:group]`, by name or number; empty for root.
    pub(crate) user: String,
    /// `sha256:...` of each uncompressed layer, the lowest first.
    pub(crate) diff_ids: Vec<String>,
}

/// Who a container's processes are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

impl ImageConfig {
    /// Reads an image's configuration.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, RuntimeError> {
        let image: ImageConfiguration =
            serde_json::from_slice(json).map_err(|error| bad(format!("configuration: {error}")))?;
        if *image.os() != Os::Linux || *image.architecture() != Arch::Amd64 {
            return Err(bad(format!(
                "made for {}/{}, not linux/amd64",
                image.os(),
                image.architecture()
            )));
        }
        let config = image.config().clone().unwrap_or_default();
        let working_dir = match config.working_dir().as_deref() {
            None | Some("") => "/".into(),
            Some(folder) if folder.starts_with('/') => folder.into(),
            Some(folder) => return Err(bad(format!("working folder `{folder}` is not absolute"))),
        };
        Ok(Self {
            entrypoint: config.entrypoint().clone().unwrap_or_default(),
            command: config.cmd().clone().unwrap_or_default(),
            env: config.env().clone().unwrap_or_default(),
            working_dir,
            user: config.user().clone().unwrap_or_default(),
            diff_ids: image.rootfs().diff_ids().clone(),
        })
    }
}

impl User {
    /// Finds the user that an image names in the account files of its layers, the topmost first.
    pub(crate) fn find(named: &str, layers: &[PathBuf]) -> Result<Self, RuntimeError> {
        let (user, group) = named
            .split_once(':')
            .map_or((named, None), |(user, group)| (user, Some(group)));
        if user.is_empty() {
            return Ok(Self::default());
        }
        let accounts = account_file(layers, "passwd")?;
        let groups = account_file(layers, "group")?;
        Self::resolve(user, group, &accounts, &groups)
            .ok_or_else(|| bad(format!("user `{named}` is not in its /etc/passwd or /etc/group")))
    }

    fn resolve(user: &str, group: Option<&str>, accounts: &str, groups: &str) -> Option<Self> {
        let number = user.parse::<u32>().ok();
        let entry = accounts.lines().map(fields).find(|entry| match number {
            Some(uid) => entry.get(2).and_then(|field| field.parse().ok()) == Some(uid),
            None => entry.first() == Some(&user),
        });
        let uid = match number {
            Some(uid) => uid,
            None => entry.as_ref()?.get(2)?.parse().ok()?,
        };
        let gid = match group {
            Some(group) => group_id(group, groups)?,
            None => entry.as_ref().and_then(|entry| entry.get(3)?.parse().ok()).unwrap_or(0),
        };
        let name = entry
            .as_ref()
            .and_then(|entry| entry.first().copied())
            .unwrap_or_default();
        let mut more: Vec<u32> = match group {
            // As Docker does: a group that is named stands alone.
            Some(_) => Vec::new(),
            None => groups
                .lines()
                .map(fields)
                .filter_map(|group| membership(&group, name))
                .collect(),
        };
        more.retain(|id| *id != gid);
        Some(Self { uid, gid, groups: more })
    }
}

fn fields(line: &str) -> Vec<&str> {
    line.split(':').collect()
}

fn group_id(group: &str, groups: &str) -> Option<u32> {
    let by_name = || {
        groups
            .lines()
            .map(fields)
            .find(|entry| entry.first() == Some(&group))?
            .get(2)?
            .parse()
            .ok()
    };
    group.parse().ok().or_else(by_name)
}

fn membership(group: &[&str], name: &str) -> Option<u32> {
    let members = group.get(3)?;
    (!name.is_empty() && members.split(',').any(|member| member == name)).then(|| group.get(2)?.parse().ok())?
}

/// An account file as the topmost layer that has it shows it. Symbolic links are not followed: they could lead out of
/// the image.
fn account_file(layers: &[PathBuf], name: &str) -> Result<String, RuntimeError> {
    for layer in layers {
        match read_plain(&layer.join("etc"), name) {
            Ok(Some(text)) => return Ok(text),
            Ok(None) => {}
            Err(error) => return Err(bad(format!("/etc/{name}: {error}"))),
        }
    }
    Ok(String::new())
}

fn read_plain(folder: &Path, name: &str) -> io::Result<Option<String>> {
    let kind_of = |path: &Path| match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata.file_type())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    match kind_of(folder)? {
        Some(kind) if kind.is_dir() => {}
        Some(_) => {
            return Err(io::Error::other(
                "its folder is a symbolic link: name the user by number",
            ));
        }
        None => return Ok(None),
    }
    let path = folder.join(name);
    match kind_of(&path)? {
        Some(kind) if kind.is_file() => {
            let mut text = String::new();
            File::open(path)?.take(ACCOUNTS_BYTES_MAX).read_to_string(&mut text)?;
            Ok(Some(text))
        }
        Some(kind) if kind.is_symlink() => Err(io::Error::other("is a symbolic link: name the user by number")),
        // A whiteout: there is none from here down.
        Some(_) => Ok(Some(String::new())),
        None => Ok(None),
    }
}

fn bad(message: String) -> RuntimeError {
    RuntimeError::BadImage(message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/sh\n";
    const GROUP: &str = "web:x:34:\nmedia:x:77:other,web\n";

    fn user(named: &str) -> Option<(u32, u32, Vec<u32>)> {
        let (user, group) = named
            .split_once(':')
            .map_or((named, None), |(user, group)| (user, Some(group)));
        User::resolve(user, group, PASSWD, GROUP).map(|user| (user.uid, user.gid, user.groups))
    }

    #[test]
    fn users_are_found_by_name_or_number() {
        assert_eq!(user("web"), Some((33, 34, vec![77])));
        assert_eq!(user("33"), Some((33, 34, vec![77])));
        assert_eq!(user("web:media"), Some((33, 77, vec![])));
        assert_eq!(user("1000:50"), Some((1000, 50, vec![])));
        assert_eq!(user("1000"), Some((1000, 0, vec![])));
        assert_eq!(user("nobody"), None);
        assert_eq!(user("web:nobody"), None);
    }

    #[test]
    fn account_files_are_never_looked_for_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let layer = |name: &str| folder.path().join(name);
        for name in ["plain", "linked"] {
            fs::create_dir_all(layer(name).join("etc")).unwrap();
        }
        fs::write(layer("plain").join("etc/passwd"), PASSWD).unwrap();
        symlink(layer("plain").join("etc/passwd"), layer("linked").join("etc/passwd")).unwrap();
        fs::create_dir_all(layer("linked-folder")).unwrap();
        symlink(layer("plain").join("etc"), layer("linked-folder").join("etc")).unwrap();
        assert_eq!(User::find("web", &[layer("empty"), layer("plain")]).unwrap().uid, 33);
        for bad in ["linked", "linked-folder"] {
            let found = User::find("web", &[layer(bad), layer("plain")]);
            assert!(matches!(found, Err(RuntimeError::BadImage(_))), "{bad}: {found:?}");
        }
    }

    #[test]
    fn images_for_other_machines_are_refused() {
        let image = |architecture: &str, folder: &str| {
            let text = format!(
                r#"{{"architecture":"{architecture}","os":"linux","config":{{"WorkingDir":"{folder}"}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
            );
            ImageConfig::parse(text.as_bytes())
        };
        assert_eq!(image("amd64", "").unwrap().working_dir, Path::new("/"));
        assert_eq!(
            image("arm64", ""),
            Err(RuntimeError::BadImage("made for linux/arm64, not linux/amd64".into()))
        );
        assert!(matches!(image("amd64", "relative"), Err(RuntimeError::BadImage(_))));
    }
}
