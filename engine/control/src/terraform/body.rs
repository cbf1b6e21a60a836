//! A version's contents on their way into the store and out of it: compressed, sealed, the same bytes again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_model::id::StateName;
use isobar_engine_store::Table;
use isobar_terraform_compat::backend::BODY_MAX_BYTES;

use super::no_state;
use super::record::{BodyRow, body_key};
use crate::api::{ApiError, ErrorCode, StateBody, StateGet, StatePart, StateRead, StateVersion};
use crate::engine::Engine;
use crate::ledger::chain;

/// zstd's own default: states shrink to a tenth.
const LEVEL: i32 = 3;
/// A part of a version that one answer holds.
const PART_MAX_BYTES: usize = 256 << 10;

impl Engine {
    /// A version, whole. None: the state has none.
    pub async fn state_get(&self, request: StateGet) -> Result<Option<StateBody>, ApiError> {
        let Some(version) = self.version(&request.state, request.version)? else {
            return Ok(None);
        };
        let bytes = self.body(&request.state, &version).await?;
        Ok(Some(StateBody {
            version: version.version,
            base64: STANDARD.encode(bytes),
        }))
    }

    /// A part of a version.
    pub async fn state_read(&self, request: StateRead) -> Result<StatePart, ApiError> {
        let version = self.version(&request.state, request.version)?;
        let version = version.ok_or_else(|| no_state(&request.state))?;
        let bytes = self.body(&request.state, &version).await?;
        let start = usize::try_from(request.offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(PART_MAX_BYTES).min(bytes.len());
        Ok(StatePart {
            version: version.version,
            bytes: version.bytes,
            base64: STANDARD.encode(&bytes[start..end]),
            next: (end < bytes.len()).then(|| u64::try_from(end).unwrap_or(u64::MAX)),
        })
    }

    /// What is known of a version, or of the newest. None: the state has no version at all.
    fn version(&self, state: &StateName, number: Option<u64>) -> Result<Option<StateVersion>, ApiError> {
        let held = self.ledger.read();
        let record = held.terraform_states.get(state.as_str());
        let Some(number) = number else {
            return Ok(record.and_then(|record| record.versions.last().map(|version| version.told.clone())));
        };
        let record = record.ok_or_else(|| no_state(state))?;
        let mut versions = record.versions.iter();
        let found = versions.find(|version| version.told.version == number);
        match found {
            Some(version) => Ok(Some(version.told.clone())),
            None => Err(ApiError::new(
                ErrorCode::NotFound,
                format!("version {number} of state `{state}` is not kept"),
            )
            .pointer("/version")
            .hint(format!("`isobar terraform history {state}` lists those that are"))),
        }
    }

    async fn body(&self, state: &StateName, version: &StateVersion) -> Result<Vec<u8>, ApiError> {
        let key = body_key(state, version.version);
        let row = self.store.get(Table::TerraformBody, &key).await;
        let row = row.map_err(|error| ApiError::new(ErrorCode::Unavailable, chain(&error)))?;
        // Pruned meanwhile: there are newer versions.
        let row = row.ok_or_else(|| no_state(state).hint("it was written anew meanwhile: ask again"))?;
        self.opened(state, version, &row.body).ok_or_else(|| {
            let message = format!("version {} of state `{state}` cannot be opened", version.version);
            ApiError::new(ErrorCode::Internal, message)
                .hint("it was changed in the store: restore a backup of the store")
        })
    }

    /// As the row of a version has it.
    pub(super) fn sealed(&self, state: &StateName, sha256: &str, bytes: &[u8]) -> std::io::Result<String> {
        let packed = zstd::bulk::compress(bytes, LEVEL)?;
        let sealed = self.vault.seal_bytes(&*self.entropy, &about(state, sha256), &packed);
        let sealed = STANDARD.encode(sealed);
        Ok(serde_json::to_string(&BodyRow { sealed }).expect("text"))
    }

    fn opened(&self, state: &StateName, version: &StateVersion, row: &str) -> Option<Vec<u8>> {
        let row: BodyRow = serde_json::from_str(row).ok()?;
        let sealed = STANDARD.decode(row.sealed).ok()?;
        let packed = self.vault.open_bytes(&about(state, &version.sha256), &sealed).ok()?;
        let length = usize::try_from(version.bytes).ok()?.min(BODY_MAX_BYTES);
        zstd::bulk::decompress(&packed, length).ok()
    }
}

/// What a version is sealed for: no row can be put in another's place.
fn about(state: &StateName, sha256: &str) -> String {
    format!("terraform state {state} {sha256}")
}
