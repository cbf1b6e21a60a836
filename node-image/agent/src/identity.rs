//! What this machine was given at birth: read from where the provider put it, checked once, then taken out of reach of
//! containers. Never read from the kernel command line. Called once, before joining.

pub mod metadata;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use isobar_node_image_protocol::identity::{Birth, FW_CFG_NAME, Identity, is_host_and_port};

use self::metadata::{Cloud, MetadataError};

/// An identity longer than this is not ours, in bytes.
pub const IDENTITY_MAX_BYTES: u64 = 64 * 1024;

/// Bytes of a token.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

/// Where an identity comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// QEMU's firmware configuration device.
    FwCfg,
    /// A file that only its owner may read.
    File(PathBuf),
    /// A cloud's metadata service. Needs a network.
    Metadata(Cloud),
}

/// As what this machine was born.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Born {
    /// A node: it goes home.
    Node(Home),
    /// The machine of an engine: it runs one.
    Engine(EngineBirth),
}

/// What the engine of this machine is given. Only it reads more of it than the name.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineBirth {
    /// The machine's name, for the console only.
    pub machine: String,
    /// The JSON that its owner wrote.
    pub json: Vec<u8>,
}

/// Where home is, whom to trust and what to show: an [`Identity`] that was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Home {
    /// The engines' node endpoints, at least one: `host:port`.
    pub engines: Vec<String>,
    /// Certificate of the cluster's CA.
    pub ca_der: Vec<u8>,
    /// The one-time token.
    pub token: Vec<u8>,
    /// The machine's name, for the console only.
    pub machine: String,
    /// Registries that are spoken to over plain HTTP: `host:port`.
    pub insecure_registries: Vec<String>,
}

/// Why there is no identity: without one a machine cannot do anything but power off.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Nothing can be read there.
    #[error("read the identity from {place}")]
    Unreadable {
        /// Where.
        place: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may read the file, so the token in it may be known.
    #[error("{place} may be read by others\nhint: chmod 600 {place}")]
    Exposed {
        /// Which file.
        place: PathBuf,
    },
    /// Neither QEMU nor a cloud that is known gave this machine anything.
    #[error("this machine is of no provider that is known: it was given no identity")]
    Unborn,
    /// A cloud's metadata service does not give it.
    #[error("ask {cloud:?} for the identity")]
    Metadata {
        /// Whose service.
        cloud: Cloud,
        /// Why not.
        #[source]
        source: MetadataError,
    },
    /// It is longer than [`IDENTITY_MAX_BYTES`].
    #[error("the identity is longer than {IDENTITY_MAX_BYTES} bytes")]
    TooLong,
    /// It is not the JSON of an identity.
    #[error("the identity is not what this agent reads")]
    NotJson(#[source] serde_json::Error),
    /// It is an engine's where only a node can be.
    #[error("the identity is of an engine's machine, and only a node's is of use here")]
    NotANode,
    /// A field does not hold what it must.
    #[error("the identity's field `{field}` is not {wanted}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
}

impl Source {
    /// Where this machine's identity is: QEMU's device before what the firmware says.
    pub fn of_this_machine() -> Result<Self, IdentityError> {
        Self::below(Path::new("/sys"))
    }

    fn below(sys: &Path) -> Result<Self, IdentityError> {
        if fw_cfg(sys).exists() {
            return Ok(Self::FwCfg);
        }
        Cloud::of_firmware(sys).map(Self::Metadata).ok_or(IdentityError::Unborn)
    }

    /// Whether it can be read only with a network.
    pub fn needs_network(&self) -> bool {
        matches!(self, Self::Metadata(_))
    }

    /// Reads and checks the identity.
    pub async fn read(&self) -> Result<Born, IdentityError> {
        match self {
            Self::FwCfg => read_file(fw_cfg(Path::new("/sys"))),
            Self::File(path) => read_file(path.clone()),
            Self::Metadata(cloud) => parse(&cloud.identity(metadata::SERVICE).await?),
        }
    }

    /// Takes the identity out of reach of everything that runs later. `Err` leaves it readable for root.
    pub fn seal(&self) -> nix::Result<()> {
        match self {
            // The device's files go with its driver. No container may load it again.
            Self::FwCfg => nix::kmod::delete_module(c"qemu_fw_cfg", nix::kmod::DeleteModuleFlags::O_NONBLOCK),
            // Outside every container's mount namespace already; and no container reaches a metadata service.
            Self::File(_) | Self::Metadata(_) => Ok(()),
        }
    }
}

fn fw_cfg(sys: &Path) -> PathBuf {
    sys.join("firmware/qemu_fw_cfg/by_name").join(FW_CFG_NAME).join("raw")
}

fn read_file(place: PathBuf) -> Result<Born, IdentityError> {
    let unreadable = |source| IdentityError::Unreadable {
        place: place.clone(),
        source,
    };
    let file = File::open(&place).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
        return Err(IdentityError::Exposed { place });
    }
    let mut bytes = Vec::new();
    file.take(IDENTITY_MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    parse(&bytes)
}

/// An identity from its JSON.
pub fn parse(bytes: &[u8]) -> Result<Born, IdentityError> {
    if u64::try_from(bytes.len()).is_ok_and(|len| len > IDENTITY_MAX_BYTES) {
        return Err(IdentityError::TooLong);
    }
    match Birth::parse(bytes).map_err(IdentityError::NotJson)? {
        Birth::Node(identity) => Home::try_from(identity).map(Born::Node),
        Birth::Engine(engine) => Ok(Born::Engine(EngineBirth {
            machine: engine.machine,
            json: bytes.to_vec(),
        })),
    }
}

impl Born {
    /// A node's home. An engine's machine is refused.
    pub fn node(self) -> Result<Home, IdentityError> {
        match self {
            Self::Node(home) => Ok(home),
            Self::Engine(_) => Err(IdentityError::NotANode),
        }
    }
}

impl TryFrom<Identity> for Home {
    type Error = IdentityError;

    fn try_from(identity: Identity) -> Result<Self, IdentityError> {
        let field = |field, wanted| IdentityError::Field { field, wanted };
        let ca_der = hex::decode(&identity.ca_der_hex).ok().filter(|der| !der.is_empty());
        let token = hex::decode(&identity.token_hex)
            .ok()
            .filter(|token| TOKEN_BYTES.contains(&token.len()));
        if identity.engines.is_empty() || !identity.engines.iter().all(|engine| is_host_and_port(engine)) {
            return Err(field("engines", "a list of `host:port`"));
        }
        Ok(Self {
            ca_der: ca_der.ok_or_else(|| field("ca_der_hex", "a certificate in hex"))?,
            token: token.ok_or_else(|| field("token_hex", "16 to 512 bytes in hex"))?,
            engines: identity.engines,
            machine: identity.machine,
            insecure_registries: identity.insecure_registries,
        })
    }
}

impl fmt::Debug for EngineBirth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBirth")
            .field("machine", &self.machine)
            .field("json", &"***")
            .finish()
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home")
            .field("engines", &self.engines)
            .field("machine", &self.machine)
            .field("token", &"***")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use isobar_node_image_protocol::identity::EngineIdentity;

    use super::*;

    fn json(engine: &str, ca: &str, token: &str) -> String {
        format!(
            r#"{{"engines":["{engine}"],"ca_der_hex":"{ca}","token_hex":"{token}","machine":"general-1","insecure_registries":["10.0.2.2:5000"]}}"#
        )
    }

    const TOKEN: &str = "00112233445566778899aabbccddeeff";

    fn home(text: &str) -> Home {
        parse(text.as_bytes()).unwrap().node().unwrap()
    }

    fn engine() -> Vec<u8> {
        Birth::Engine(EngineIdentity {
            machine: "engine-1".to_owned(),
            claim_hash_hex: "11".repeat(32),
            proof_key_hex: "22".repeat(32),
            insecure_registries: Vec::new(),
            allowed_endpoints: Vec::new(),
        })
        .to_json()
    }

    #[test]
    fn a_whole_identity_is_read() {
        let home = home(&json("10.0.2.2:7400", "3082", TOKEN));
        assert_eq!(home.engines, ["10.0.2.2:7400"]);
        assert_eq!(home.ca_der, [0x30, 0x82]);
        assert_eq!(home.token.len(), 16);
        assert_eq!(home.insecure_registries, ["10.0.2.2:5000"]);
    }

    #[test]
    fn the_token_of_a_machine_with_the_longest_names_is_read() {
        let credential = format!("{}/{}/000001\n", "c".repeat(63), "m".repeat(63));
        let token = hex::encode([credential.as_bytes(), &[7; 32]].concat());
        assert!(parse(json("h:1", "3082", &token).as_bytes()).is_ok());
    }

    #[test]
    fn each_wrong_field_is_named() {
        let field = |text: String| match parse(text.as_bytes()) {
            Err(IdentityError::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        for engine in ["", "host", "host:0", "host:99999", "user@host:1", ":1", "a:1,b:1"] {
            assert_eq!(field(json(engine, "3082", TOKEN)), "engines", "{engine}");
        }
        assert_eq!(field(json("h:1", "", TOKEN)), "ca_der_hex");
        assert_eq!(field(json("h:1", "xyz", TOKEN)), "ca_der_hex");
        assert_eq!(field(json("h:1", "3082", "0011")), "token_hex");
    }

    #[test]
    fn what_is_not_an_identity_is_refused() {
        assert!(matches!(parse(b"#cloud-config"), Err(IdentityError::NotJson(_))));
        let long = vec![b' '; usize::try_from(IDENTITY_MAX_BYTES).unwrap() + 1];
        assert!(matches!(parse(&long), Err(IdentityError::TooLong)));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        std::fs::write(&path, json("h:1", "3082", TOKEN)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_file(path.clone()), Err(IdentityError::Exposed { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(read_file(path).is_ok());
    }

    #[test]
    fn the_token_is_never_printed() {
        let home = home(&json("h:1", "3082", TOKEN));
        assert!(!format!("{home:?}").contains("0011"));
    }

    #[test]
    fn an_engine_gets_what_its_owner_wrote_and_nobody_sees_it_printed() {
        let Born::Engine(birth) = parse(&engine()).unwrap() else {
            panic!("born as a node");
        };
        assert_eq!((birth.machine.as_str(), &birth.json), ("engine-1", &engine()));
        assert!(!format!("{birth:?}").contains("2222"));
    }

    #[test]
    fn an_engines_machine_is_no_node() {
        let node = parse(&engine()).unwrap().node();
        assert!(matches!(node, Err(IdentityError::NotANode)));
    }

    /// `/sys` of a machine whose firmware says this.
    fn firmware(fields: &[(&str, &str)]) -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let dmi = sys.path().join("class/dmi/id");
        std::fs::create_dir_all(&dmi).unwrap();
        for (field, text) in fields {
            std::fs::write(dmi.join(field), format!("{text}\n")).unwrap();
        }
        sys
    }

    #[test]
    fn a_machine_finds_out_by_itself_where_it_was_born() {
        let born = |fields: &[(&str, &str)]| Source::below(firmware(fields).path()).ok();
        assert_eq!(
            born(&[("sys_vendor", "Amazon EC2")]),
            Some(Source::Metadata(Cloud::Aws))
        );
        let google = [("sys_vendor", "Google"), ("product_name", "Google Compute Engine")];
        assert_eq!(born(&google), Some(Source::Metadata(Cloud::Gcp)));
        let azure = [
            ("sys_vendor", "Microsoft Corporation"),
            ("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77"),
        ];
        assert_eq!(born(&azure), Some(Source::Metadata(Cloud::Azure)));
        assert_eq!(born(&azure[..1]), None, "any Hyper-V");
        assert_eq!(born(&[("sys_vendor", "QEMU")]), None);
    }

    #[test]
    fn what_qemu_gives_goes_before_what_the_firmware_says() {
        let sys = firmware(&[("sys_vendor", "Amazon EC2")]);
        let given = fw_cfg(sys.path());
        std::fs::create_dir_all(given.parent().unwrap()).unwrap();
        std::fs::write(given, "").unwrap();
        assert_eq!(Source::below(sys.path()).ok(), Some(Source::FwCfg));
    }
}
