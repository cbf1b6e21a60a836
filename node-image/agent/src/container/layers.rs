//! Unpacks layers for the image store, each in a helper of its own.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::machine::HELPER_END_MAX;
use super::process::{Helper, Program};
use super::refusal::{helper_lost, refused};
use super::wire::{Reply, Request, UnpackRequest};
use crate::oci::{LAYER_BYTES_MAX, LAYER_ENTRIES_MAX, Unpack};
use crate::runtime::RuntimeError;

/// How long unpacking one layer may take.
const UNPACK_MAX: Duration = Duration::from_secs(15 * 60);

/// Starts a helper for each layer.
pub(super) struct LayerHelper(Arc<Program>);

impl LayerHelper {
    /// Helpers are this program.
    pub(super) fn new(program: Arc<Program>) -> Self {
        Self(program)
    }
}

impl Unpack for LayerHelper {
    async fn unpack(&self, blob: OwnedFd, target: &Path) -> Result<String, RuntimeError> {
        let request = Request::Unpack(UnpackRequest {
            target: target.to_owned(),
            bytes_max: LAYER_BYTES_MAX,
            entries_max: LAYER_ENTRIES_MAX,
        });
        let helper = Helper::spawn(&self.0, &request, &[blob], None).map_err(helper_lost)?;
        let reply = helper.reply(UNPACK_MAX).await;
        helper.end(HELPER_END_MAX).await;
        match reply.map_err(helper_lost)? {
            (Reply::Unpacked { diff_id }, _) => Ok(diff_id),
            (reply, _) => Err(refused(reply)),
        }
    }
}
