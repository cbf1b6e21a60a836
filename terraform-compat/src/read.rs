//! From the bytes of a state to its objects, one at a time, so that memory is bounded by the file and not by what stands
//! in it. What is no state is refused by its name. Never hands on an attribute that [`crate::identity`] and [`crate::fields`] do not name, and
//! never a value in an error.

mod encrypted;
mod json;
mod refuse;
mod show;
mod taken;
mod v3;
mod v4;
mod wanted;

use std::io::Read;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::address::{Address, ProviderConfig};
pub use encrypted::Keys;
pub use refuse::{Place, ReadError};
pub use taken::Taken;
pub use wanted::Wanted;

/// The longest state that is read.
pub const STATE_MAX_BYTES: usize = 2 << 30;

/// What a state says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// How it was written down.
    pub format: Format,
    /// Who wrote it; empty: it does not say.
    pub terraform_version: String,
    /// Grows with every change; absent in `terraform show -json`.
    pub serial: Option<u64>,
    /// Whose history it belongs to; empty: a legacy state, or `terraform show -json`.
    pub lineage: String,
    /// Whether it came encrypted.
    pub encrypted: bool,
}

/// How a state was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Terraform 0.12 and later, every OpenTofu.
    V4,
    /// Terraform 0.7 to 0.11.
    V3,
    /// `terraform show -json`.
    Show,
}

/// An object that Terraform knows: what may be told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it stands.
    pub address: Address,
    /// Which old copy it is; absent: it is the current one.
    pub deposed: Option<String>,
    /// It exists, and Terraform will replace it.
    pub tainted: bool,
    /// By whose configuration it is managed.
    pub provider: ProviderConfig,
    /// The version of the resource type's attributes.
    pub schema_version: u64,
    /// Its attributes are 0.11's, never refreshed since.
    pub flatmap: bool,
    /// It is replaced by making the new one first.
    pub create_before_destroy: bool,
    /// What its provider names it by, where it does.
    pub identity: Taken,
    /// Attributes that tell what it is.
    pub attributes: Taken,
    /// Addresses of blocks; may name what is no longer there.
    pub dependencies: Vec<String>,
}

/// The top of every file that could be a state.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    terraform_version: Option<&'a RawValue>,
    #[serde(borrow)]
    serial: Option<&'a RawValue>,
    #[serde(borrow)]
    lineage: Option<&'a RawValue>,
    #[serde(borrow)]
    resources: Option<&'a RawValue>,
    #[serde(borrow)]
    modules: Option<&'a RawValue>,
    #[serde(borrow)]
    backend: Option<&'a RawValue>,
    #[serde(borrow)]
    state_store: Option<&'a RawValue>,
    #[serde(borrow)]
    format_version: Option<&'a RawValue>,
    #[serde(borrow)]
    values: Option<&'a RawValue>,
    #[serde(borrow)]
    planned_values: Option<&'a RawValue>,
    #[serde(borrow)]
    encryption_version: Option<&'a RawValue>,
    #[serde(borrow)]
    encrypted_data: Option<&'a RawValue>,
    #[serde(borrow)]
    meta: Option<&'a RawValue>,
}

/// Reads all of a reader, up to [`STATE_MAX_BYTES`], as [`read`] does.
pub fn read_from(reader: impl Read, keys: &Keys, each: &mut dyn FnMut(Object)) -> Result<Header, ReadError> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(STATE_MAX_BYTES).unwrap_or(u64::MAX);
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(ReadError::Source)?;
    read(&bytes, keys, each)
}

/// Hands on every object of a state, in the state's order. After an error what was handed on is not all there was.
pub fn read(bytes: &[u8], keys: &Keys, each: &mut dyn FnMut(Object)) -> Result<Header, ReadError> {
    let text = refuse::text_of(bytes)?;
    let envelope: Envelope<'_> = json::parse(text, text).map_err(|error| refuse::by_name(text, error))?;
    if envelope.encryption_version.is_some() {
        let plain = encrypted::decrypt(text, &envelope, keys)?;
        let plain = refuse::text_of(&plain)?;
        let inner: Envelope<'_> = json::parse(plain, plain)?;
        if inner.encryption_version.is_some() {
            return Err(ReadError::NotAState);
        }
        let header = Header {
            encrypted: true,
            ..plainly(plain, &inner, each)?
        };
        let (serial, lineage) = told(text, &envelope)?;
        if (header.serial, &header.lineage) != (serial, &lineage) {
            return Err(ReadError::OtherInside);
        }
        return Ok(header);
    }
    plainly(text, &envelope, each)
}

fn plainly(text: &str, envelope: &Envelope<'_>, each: &mut dyn FnMut(Object)) -> Result<Header, ReadError> {
    if envelope.backend.is_some() || envelope.state_store.is_some() {
        return Err(ReadError::BackendCache);
    }
    if envelope.planned_values.is_some() {
        return Err(ReadError::Plan);
    }
    let (serial, lineage) = told(text, envelope)?;
    let terraform_version = json::optional::<String>(text, envelope.terraform_version)?.unwrap_or_default();
    let header = |format| Header {
        format,
        terraform_version,
        serial,
        lineage,
        encrypted: false,
    };
    if envelope.version.is_none() && envelope.format_version.is_some() {
        show::read(text, envelope.values, each)?;
        return Ok(header(Format::Show));
    }
    match json::optional::<u64>(text, envelope.version)? {
        None | Some(0) => Err(ReadError::NotAState),
        Some(version @ (1 | 2)) => Err(ReadError::TooOld { version }),
        Some(3) => {
            v3::read(text, envelope.modules, each)?;
            Ok(header(Format::V3))
        }
        Some(4) => {
            v4::read(text, envelope.resources, each)?;
            Ok(header(Format::V4))
        }
        Some(version) => Err(ReadError::TooNew { version }),
    }
}

/// Serial and lineage.
fn told(text: &str, envelope: &Envelope<'_>) -> Result<(Option<u64>, String), ReadError> {
    let serial = json::optional(text, envelope.serial)?;
    Ok((
        serial,
        json::optional::<String>(text, envelope.lineage)?.unwrap_or_default(),
    ))
}
