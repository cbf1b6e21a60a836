//! What a state that is sent says of itself. Looks for no secret and keeps none.

use std::collections::BTreeSet;

use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::address::Mode;
use crate::read::{Format, Keys, ReadError, read};

/// The longest state that is stored.
pub const BODY_MAX_BYTES: usize = 64 << 20;

/// What a body says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Its serial, if it tells one.
    pub serial: Option<u64>,
    /// Whose history it belongs to; empty: a legacy state.
    pub lineage: String,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// Nothing stands in it.
    pub empty: bool,
    /// What stands in it.
    pub addresses: Addresses,
}

/// What stands in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addresses {
    /// Every managed object: its address, and its block's.
    Told(BTreeSet<(String, String)>),
    /// OpenTofu has encrypted it: only serial and lineage can be read.
    Sealed,
}

/// The top of a state that OpenTofu has encrypted.
#[derive(Deserialize)]
struct Sealed {
    encryption_version: String,
    serial: Option<u64>,
    #[serde(default)]
    lineage: String,
}

/// As much of a state as tells whether there is something in it.
#[derive(Deserialize)]
struct Filled {
    #[serde(default)]
    outputs: Option<std::collections::BTreeMap<String, IgnoredAny>>,
    #[serde(default)]
    resources: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    modules: Option<Vec<IgnoredAny>>,
}

impl Body {
    /// Reads what was sent. What is no state is refused by its name.
    pub fn of(bytes: &[u8]) -> Result<Self, ReadError> {
        let sha256 = hex(digest(&SHA256, bytes).as_ref());
        if let Ok(sealed) = serde_json::from_slice::<Sealed>(bytes)
            && !sealed.encryption_version.is_empty()
        {
            return Ok(Self {
                serial: sealed.serial,
                lineage: sealed.lineage,
                sha256,
                empty: false,
                addresses: Addresses::Sealed,
            });
        }
        let mut told = BTreeSet::new();
        let header = read(bytes, &Keys::default(), &mut |object| {
            if object.address.mode == Mode::Managed {
                told.insert((object.address.to_string(), object.address.block()));
            }
        })?;
        match header.format {
            Format::V4 | Format::V3 => Ok(Self {
                serial: header.serial,
                lineage: header.lineage,
                sha256,
                empty: is_empty(bytes),
                addresses: Addresses::Told(told),
            }),
            // It has no serial and no lineage: nothing could follow it.
            Format::Show => Err(ReadError::NotAState),
        }
    }
}

/// Whether nothing stands in a state. One that cannot be told counts as filled.
fn is_empty(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Filled>(bytes).is_ok_and(|filled| {
        filled.outputs.is_none_or(|outputs| outputs.is_empty())
            && filled.resources.is_none_or(|resources| resources.is_empty())
            && filled.modules.is_none_or(|modules| modules.is_empty())
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
