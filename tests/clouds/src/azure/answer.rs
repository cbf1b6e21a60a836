//! Azure's answers: errors in its envelope, and resources as its interface shows them. Pure. Called by the front.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{ProviderError, ResourceState, ResourceStatus};
use serde_json::{Value, json};

use super::made::Made;

/// An answer that is not what was asked for.
pub(super) struct Refused(Box<Response>);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// `{"error": {"code", "message"}}`.
/// <https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors>
pub(super) fn refused(status: StatusCode, code: &str, message: &str) -> Refused {
    let body = json!({"error": {"code": code, "message": message}});
    Refused(Box::new((status, Json(body)).into_response()))
}

/// What the simulated cloud says, in Azure's words.
impl From<ProviderError> for Refused {
    fn from(error: ProviderError) -> Self {
        let said = error.to_string();
        match error {
            ProviderError::InvalidSpec { .. } => refused(StatusCode::BAD_REQUEST, "InvalidParameter", &said),
            // https://learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
            ProviderError::RateLimited { after } => {
                let mut answer = refused(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", &said);
                let seconds = after.unwrap_or_default().as_millis().div_ceil(1000).to_string();
                if let Ok(seconds) = HeaderValue::from_str(&seconds) {
                    answer.0.headers_mut().insert(header::RETRY_AFTER, seconds);
                }
                answer
            }
            ProviderError::Unauthorized { .. } => {
                refused(StatusCode::UNAUTHORIZED, "ExpiredAuthenticationToken", &said)
            }
            ProviderError::NotFound | ProviderError::Gone => {
                refused(StatusCode::NOT_FOUND, "ResourceNotFound", "the resource was not found")
            }
            ProviderError::Conflict { .. } | ProviderError::NotReady { .. } => {
                refused(StatusCode::CONFLICT, "AnotherOperationInProgress", &said)
            }
            // https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-resource-quota
            ProviderError::QuotaExceeded { .. } => refused(
                StatusCode::CONFLICT,
                "OperationNotAllowed",
                "Operation could not be completed as it results in exceeding approved Total Regional Cores quota.",
            ),
            // https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/allocation-failure
            ProviderError::InsufficientCapacity { .. } => {
                refused(StatusCode::CONFLICT, "ZonalAllocationFailed", "Allocation failed.")
            }
            ProviderError::Unavailable { .. } => refused(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", &said),
            // An answer from the front door, which does not know what happened behind it.
            ProviderError::OutcomeUnknown { .. } => refused(StatusCode::GATEWAY_TIMEOUT, "GatewayTimeout", &said),
            ProviderError::Unsupported { .. } | ProviderError::Unexpected { .. } => {
                refused(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", &said)
            }
        }
    }
}

/// An accepted change, with the address of its operation.
/// <https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations>
pub(super) fn accepted(status: StatusCode, operation: &str, body: Option<Value>) -> Response {
    let mut answer = match body {
        Some(body) => (status, Json(body)).into_response(),
        None => status.into_response(),
    };
    if let Ok(operation) = HeaderValue::from_str(operation) {
        let name = HeaderName::from_static("azure-asyncoperation");
        answer.headers_mut().insert(name, operation);
    }
    answer
}

/// A machine as `VirtualMachines_Get` shows it; without its view as a list does.
/// <https://learn.microsoft.com/rest/api/compute/virtual-machines/get>
pub(super) fn machine(made: &Made, state: &ResourceState, view: bool) -> Value {
    let mut vm = made.body.clone();
    let (provisioning, power) = match &state.status {
        ResourceStatus::Pending | ResourceStatus::Running | ResourceStatus::Stopped { .. } if made.failed.is_some() => {
            ("Failed", None)
        }
        ResourceStatus::Pending => ("Creating", None),
        ResourceStatus::Running => ("Succeeded", Some("PowerState/running")),
        ResourceStatus::Stopped { .. } => ("Succeeded", Some("PowerState/stopped")),
        ResourceStatus::Deleting => ("Deleting", None),
    };
    vm["id"] = json!(made.id("Microsoft.Compute/virtualMachines", &made.name));
    vm["name"] = json!(made.name);
    vm["type"] = json!("Microsoft.Compute/virtualMachines");
    let properties = &mut vm["properties"];
    // Never shown unless asked for: $expand=userData.
    if let Some(properties) = properties.as_object_mut() {
        properties.remove("userData");
    }
    properties["provisioningState"] = json!(provisioning);
    properties["timeCreated"] = json!(written(state.created));
    properties["networkProfile"] = json!({
        "networkInterfaces": [{"id": made.id("Microsoft.Network/networkInterfaces", &made.card)}],
    });
    if view {
        // https://learn.microsoft.com/azure/virtual-machines/states-billing#provisioning-states
        let failed = made
            .failed
            .iter()
            .map(|code| format!("ProvisioningState/failed/{code}"));
        let codes = failed.chain(power.map(str::to_owned));
        let statuses: Vec<Value> = codes.map(|code| json!({"code": code, "level": "Info"})).collect();
        properties["instanceView"] = json!({"statuses": statuses});
    }
    vm
}

/// A network card; its address's own words are in it where they are asked for.
/// <https://learn.microsoft.com/rest/api/virtualnetwork/network-interfaces/get>
pub(super) fn card(made: &Made, (private, public): (Option<&str>, Option<String>), expanded: bool) -> Value {
    let mut ip = json!({"privateIPAddress": private});
    if let Some(name) = &made.address {
        ip["publicIPAddress"] = json!({"id": made.id("Microsoft.Network/publicIPAddresses", name)});
        if expanded {
            ip["publicIPAddress"]["properties"] = json!({"ipAddress": public});
        }
    }
    json!({
        "id": made.id("Microsoft.Network/networkInterfaces", &made.card),
        "name": made.card,
        "properties": {"provisioningState": "Succeeded", "ipConfigurations": [{"name": "ip", "properties": ip}]},
    })
}

/// A public address.
pub(super) fn address(made: &Made, name: &str, public: Option<String>) -> Value {
    json!({
        "id": made.id("Microsoft.Network/publicIPAddresses", name),
        "name": name,
        "properties": {"provisioningState": "Succeeded", "ipAddress": public},
    })
}

/// A disk.
pub(super) fn disk(made: &Made) -> Value {
    json!({
        "id": made.id("Microsoft.Compute/disks", &made.disk),
        "name": made.disk,
        "properties": {"provisioningState": "Succeeded"},
    })
}

/// The public address of a private one that nobody has said: its own, in another network.
pub(super) fn public(private: Option<&str>) -> Option<String> {
    private.map(|private| private.replacen("10.", "20.", 1))
}

/// A moment as Azure writes it: `2026-01-01T00:00:00.000Z`.
fn written(at: Timestamp) -> String {
    let (days, in_day) = (at.0 / 86_400_000, at.0 % 86_400_000);
    let (mut year, mut day) = (1970, days);
    let length = |year: u64| {
        if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) {
            366
        } else {
            365
        }
    };
    while day >= length(year) {
        day -= length(year);
        year += 1;
    }
    let february = length(year) - 337;
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, ms) = (in_day / 1000 % 60, in_day % 1000);
    format!(
        "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z",
        day + 1
    )
}
