//! What a machine's serial console printed. EC2 keeps its last 64 KiB and renews them now and then, so that offsets count
//! from the oldest byte that is kept. <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html>

use aws_sdk_ec2::Client;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_model::id::ResourceHandle;
use isobar_engine_provider::{ConsoleChunk, ProviderError, ResourceKind, Result};

use crate::client::quiet;
use crate::errors::{Call, kind_of};
use crate::look::kind;

/// A part of it from `offset` on.
pub(crate) async fn read(client: &Client, handle: &ResourceHandle, offset: u64) -> Result<ConsoleChunk> {
    if kind(handle) != Some(ResourceKind::Machine) {
        return Err(ProviderError::NotFound);
    }
    let answer = quiet(client.get_console_output().instance_id(handle.as_str()).send()).await;
    let answer = answer.map_err(|error| kind_of(&error, Call::Read))?;
    let printed = STANDARD.decode(answer.output().unwrap_or_default().trim());
    let printed = printed.map_err(|_| ProviderError::Unexpected {
        message: "a console that is not in base64".to_owned(),
    })?;
    Ok(ConsoleChunk::part(&printed, offset))
}
