//! What a machine's serial console printed: Azure keeps it in a blob of its own and hands out an address that opens it for
//! a while. That address is a secret. It is called without our token, over TLS and at Azure's blobs alone, and never told
//! to anybody. <https://learn.microsoft.com/rest/api/compute/virtual-machines/retrieve-boot-diagnostics-data>

use isobar_engine_provider::{ConsoleChunk, ProviderError, Result, Site};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::arm::{Arm, Call};

/// Where blobs are in Azure's public cloud: of storage accounts, and of the accounts that Azure manages itself.
const BLOB_HOSTS: [&str; 2] = [".blob.core.windows.net", ".blob.storage.azure.net"];
/// The address opens for so long, in minutes: the least that there is.
const OPEN_MINUTES: &str = "1";
/// Azure keeps the last of a console: it has no more than so many bytes.
const LOG_MAX_BYTES: usize = 8 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    serial_console_log_blob_uri: Option<String>,
}

/// A part of it from `offset` on.
pub(crate) async fn read(
    arm: &Arm,
    site: &Site,
    (machine, version): (String, &str),
    offset: u64,
) -> Result<ConsoleChunk> {
    let query = [
        ("api-version", version),
        ("sasUriExpirationTimeInMinutes", OPEN_MINUTES),
    ];
    let call = Call::of(Method::POST, format!("{machine}/retrieveBootDiagnosticsData"), &query);
    let data: Data = arm.send(site, call).await?.read()?;
    let Some(link) = data.serial_console_log_blob_uri.filter(|link| !link.is_empty()) else {
        return Ok(ConsoleChunk::part(&[], offset));
    };
    let address = allowed(&link, arm.stands_for_azure(site)?)?;
    match arm.open(address, LOG_MAX_BYTES).await {
        Ok(printed) => Ok(ConsoleChunk::part(&printed, offset)),
        // Nothing was printed yet.
        Err(ProviderError::NotFound) => Ok(ConsoleChunk::part(&[], offset)),
        Err(error) => Err(error),
    }
}

/// An address of Azure's blobs, by TLS; `endpoint` is on this computer and stands for all of Azure.
fn allowed(link: &str, endpoint: Option<Url>) -> Result<Url> {
    let strange = || ProviderError::Unexpected {
        message: "the console is at an address that is none of Azure's blobs".to_owned(),
    };
    let address = Url::parse(link).map_err(|_| strange())?;
    let of_azure = address.scheme() == "https"
        && address.port().is_none()
        && address.username().is_empty()
        && address.password().is_none()
        && address
            .host_str()
            .is_some_and(|host| BLOB_HOSTS.iter().any(|blobs| host.ends_with(blobs)));
    let here = endpoint.is_some_and(|endpoint| endpoint.origin() == address.origin());
    (of_azure || here).then_some(address).ok_or_else(strange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_azures_own_blobs_are_opened() {
        let endpoint = || Url::parse("http://127.0.0.1:5000").ok();
        for (link, endpoint, opens) in [
            (
                "https://o0sz3n.blob.core.windows.net/c/m.serialconsole.log?sig=s",
                None,
                true,
            ),
            ("https://md-x.z1.blob.storage.azure.net/c/m.log?sig=s", None, true),
            ("http://o0sz3n.blob.core.windows.net/c/m.log", None, false),
            ("https://o0sz3n.blob.core.windows.net:8443/c/m.log", None, false),
            ("https://u:p@o0sz3n.blob.core.windows.net/c/m.log", None, false),
            ("https://blob.core.windows.net.example.org/c", None, false),
            ("https://evilblob.core.windows.net/c", None, false),
            ("https://169.254.169.254/metadata", None, false),
            ("http://127.0.0.1:5000/c", None, false),
            ("http://127.0.0.1:5000/c", endpoint(), true),
            ("http://127.0.0.1:5001/c", endpoint(), false),
            ("nothing", None, false),
        ] {
            assert_eq!(allowed(link, endpoint).is_ok(), opens, "{link}");
        }
    }
}
