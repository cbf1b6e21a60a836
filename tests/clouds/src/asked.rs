//! What a cloud was asked for a machine besides what the simulated cloud keeps of it, in words that are no cloud's own.

/// What the call that made a machine asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// What it boots, as its cloud names images.
    pub image: String,
    /// A second disk, blank, in GiB.
    pub data_disk_gib: Option<u32>,
    /// As what programs on it may call the cloud.
    pub identity: Option<String>,
    /// Whether it has an address on the internet.
    pub public_address: bool,
}
