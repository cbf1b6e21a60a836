//! One table: what the caller does next for each code of EC2 that our calls may meet, and for what is no code.
//!
//! EC2's model names no errors: the codes are those of the documentation, listed in `data/codes.txt`; a test holds table
//! and list to each other. Sends nothing.

use std::error::Error;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use isobar_engine_provider::ProviderError;
pub(crate) use isobar_engine_provider::error::Call;
use isobar_engine_provider::error::Meaning;

/// Every code of `data/codes.txt`, in its order.
const TABLE: &[(&str, Meaning)] = &[
    ("AuthFailure", Meaning::Unauthorized),
    ("Blocked", Meaning::Unauthorized),
    ("DryRunOperation", Meaning::Invalid),
    ("IdempotentParameterMismatch", Meaning::Conflict),
    ("IncompleteSignature", Meaning::Unauthorized),
    ("InvalidAction", Meaning::Invalid),
    ("InvalidCharacter", Meaning::Invalid),
    ("InvalidClientTokenId", Meaning::Unauthorized),
    ("InvalidPaginationToken", Meaning::Invalid),
    ("InvalidParameter", Meaning::Invalid),
    ("InvalidParameterCombination", Meaning::Invalid),
    ("InvalidParameterDependency", Meaning::Invalid),
    ("InvalidParameterValue", Meaning::Invalid),
    ("InvalidQueryParameter", Meaning::Invalid),
    ("MalformedQueryString", Meaning::Invalid),
    ("MissingAction", Meaning::Invalid),
    ("MissingAuthenticationToken", Meaning::Unauthorized),
    ("MissingParameter", Meaning::Invalid),
    ("OptInRequired", Meaning::Unauthorized),
    ("PendingVerification", Meaning::Unauthorized),
    ("RequestExpired", Meaning::Unauthorized),
    ("SignatureDoesNotMatch", Meaning::Unauthorized),
    ("UnauthorizedOperation", Meaning::Unauthorized),
    ("UnknownParameter", Meaning::Invalid),
    ("UnsupportedOperation", Meaning::Invalid),
    ("ValidationError", Meaning::Invalid),
    ("DefaultVpcDoesNotExist", Meaning::Invalid),
    ("DependencyViolation", Meaning::NotReady),
    ("FilterLimitExceeded", Meaning::Invalid),
    // The machine that the token made is terminated: the token makes no other.
    ("IdempotentInstanceTerminated", Meaning::Conflict),
    ("IncorrectInstanceState", Meaning::NotReady),
    ("IncorrectState", Meaning::NotReady),
    ("InstanceLimitExceeded", Meaning::Quota),
    // Another zone has another subnet, and so other addresses.
    ("InsufficientFreeAddressesInSubnet", Meaning::Capacity),
    ("InvalidAMIID.Malformed", Meaning::Invalid),
    ("InvalidAMIID.NotFound", Meaning::Invalid),
    ("InvalidAMIID.Unavailable", Meaning::Invalid),
    ("InvalidAvailabilityZone", Meaning::Invalid),
    ("InvalidBlockDeviceMapping", Meaning::Invalid),
    ("InvalidFilter", Meaning::Invalid),
    ("InvalidGroup.NotFound", Meaning::Invalid),
    ("InvalidGroupId.Malformed", Meaning::Invalid),
    ("InvalidID", Meaning::Invalid),
    ("InvalidInstanceID", Meaning::NotReady),
    ("InvalidInstanceID.Malformed", Meaning::NotFound),
    ("InvalidInstanceID.NotFound", Meaning::NotFound),
    ("InvalidInstanceType", Meaning::Invalid),
    ("InvalidInterface.IpAddressLimitExceeded", Meaning::Quota),
    ("InvalidNetworkInterface.InUse", Meaning::NotReady),
    ("InvalidNetworkInterfaceID.NotFound", Meaning::NotFound),
    ("InvalidNetworkInterfaceId.Malformed", Meaning::NotFound),
    ("InvalidNextToken", Meaning::Invalid),
    ("InvalidParameterValue.Malformed", Meaning::Invalid),
    ("InvalidSecurity.RequestHasExpired", Meaning::Unauthorized),
    ("InvalidSecurityGroupID.NotFound", Meaning::Invalid),
    ("InvalidSubnet", Meaning::Invalid),
    ("InvalidSubnetID.NotFound", Meaning::Invalid),
    ("InvalidUserData.Malformed", Meaning::Invalid),
    ("InvalidVolume.NotFound", Meaning::NotFound),
    ("InvalidVolumeID.Malformed", Meaning::NotFound),
    ("MaxSpotInstanceCountExceeded", Meaning::Quota),
    ("NetworkInterfaceLimitExceeded", Meaning::Quota),
    ("NetworkInterfaceNotFound", Meaning::NotFound),
    ("PendingSnapshotLimitExceeded", Meaning::Quota),
    ("RequestLimitExceeded", Meaning::Throttled),
    ("SecurityGroupsPerInstanceLimitExceeded", Meaning::Invalid),
    ("SpotMaxPriceTooLow", Meaning::Capacity),
    ("TagLimitExceeded", Meaning::Invalid),
    // The zone does not have the type: another offering may be there.
    ("Unsupported", Meaning::Capacity),
    ("VcpuLimitExceeded", Meaning::Quota),
    ("VolumeInUse", Meaning::NotReady),
    ("VolumeLimitExceeded", Meaning::Quota),
    ("VolumeTypeNotAvailableInZone", Meaning::Capacity),
    ("InsufficientAddressCapacity", Meaning::Capacity),
    ("InsufficientCapacity", Meaning::Capacity),
    ("InsufficientHostCapacity", Meaning::Capacity),
    ("InsufficientInstanceCapacity", Meaning::Capacity),
    ("InsufficientReservedInstanceCapacity", Meaning::Capacity),
    ("InsufficientVolumeCapacity", Meaning::Capacity),
    ("InternalError", Meaning::Unknown),
    ("InternalFailure", Meaning::Unknown),
    ("ServerInternal", Meaning::Unknown),
    ("ServiceUnavailable", Meaning::Unknown),
    ("Unavailable", Meaning::Unknown),
    ("Throttling", Meaning::Throttled),
    ("Gateway.NotAttached", Meaning::NotFound),
    ("InternetGatewayLimitExceeded", Meaning::Quota),
    ("InvalidGroup.Duplicate", Meaning::Conflict),
    ("InvalidInternetGatewayID.NotFound", Meaning::NotFound),
    ("InvalidPermission.Duplicate", Meaning::Conflict),
    ("InvalidRouteTableID.NotFound", Meaning::NotReady),
    ("InvalidSubnet.Conflict", Meaning::Invalid),
    ("InvalidSubnet.Range", Meaning::Invalid),
    ("InvalidVpcID.NotFound", Meaning::Invalid),
    ("InvalidVpcRange", Meaning::Invalid),
    ("Resource.AlreadyAssociated", Meaning::Conflict),
    ("RouteAlreadyExists", Meaning::Conflict),
    ("RouteLimitExceeded", Meaning::Quota),
    ("RulesPerSecurityGroupLimitExceeded", Meaning::Quota),
    ("SecurityGroupLimitExceeded", Meaning::Quota),
    ("SubnetLimitExceeded", Meaning::Quota),
    ("VpcLimitExceeded", Meaning::Quota),
    ("AccessDenied", Meaning::Unauthorized),
    ("ExpiredToken", Meaning::Unauthorized),
    ("InvalidLaunchTemplateId.Malformed", Meaning::NotFound),
    ("InvalidLaunchTemplateId.NotFound", Meaning::NotFound),
    ("InvalidLaunchTemplateId.VersionNotFound", Meaning::NotFound),
    ("RegionDisabledException", Meaning::Unauthorized),
];

/// What a failed call of the SDK means.
pub(crate) fn kind_of<E>(error: &SdkError<E, HttpResponse>, call: Call) -> ProviderError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answered) => {
            let code = answered.err().code().unwrap_or_default();
            let message = answered.err().message().unwrap_or_default();
            of_code(code, answered.raw().status().as_u16()).error(call, format!("{code}: {message}"))
        }
        SdkError::ConstructionFailure(_) => {
            let message = last_cause(error);
            ProviderError::InvalidSpec { message }
        }
        SdkError::TimeoutError(_) => Meaning::Unknown.error(call, "no answer in time".to_owned()),
        SdkError::ResponseError(_) => Meaning::Unknown.error(call, "the answer broke off".to_owned()),
        SdkError::DispatchFailure(_) | _ => undelivered(error, call),
    }
}

/// A code's kind. An unknown one of a 4xx was refused, so nothing was done; of a 5xx nobody knows.
pub(crate) fn of_code(code: &str, status: u16) -> Meaning {
    let known = TABLE.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind);
    known.unwrap_or(match status {
        401 | 403 => Meaning::Unauthorized,
        429 => Meaning::Throttled,
        400..=499 => Meaning::Invalid,
        _ => Meaning::Unknown,
    })
}

/// What began a chain of errors: what is around it says less and less.
fn last_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// A call that was not answered: without credentials and without a connection nothing was sent.
fn undelivered(error: &(dyn Error + 'static), call: Call) -> ProviderError {
    let mut cause = Some(error);
    while let Some(at) = cause {
        if let Some(credentials) = at.downcast_ref::<CredentialsError>() {
            return ProviderError::Unauthorized {
                message: format!(
                    "no credentials for AWS; tried in this order: environment, profile, web identity, container, instance metadata; the last one said: {}",
                    last_cause(credentials)
                ),
            };
        }
        let refused = at.downcast_ref::<io::Error>().map(io::Error::kind) == Some(io::ErrorKind::ConnectionRefused);
        if refused {
            return Meaning::Unavailable.error(call, "connection refused".to_owned());
        }
        cause = at.source();
    }
    Meaning::Unknown.error(call, "the connection broke".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documentation's codes that concern our calls.
    const CODES: &str = include_str!("../data/codes.txt");

    #[test]
    fn every_documented_code_has_one_row_in_the_same_order() {
        let listed: Vec<&str> = CODES.lines().filter(|line| !line.starts_with('#')).collect();
        let rows: Vec<&str> = TABLE.iter().map(|(code, _)| *code).collect();
        assert!(listed.len() > 50, "too few codes to be right: {listed:?}");
        assert_eq!(rows, listed);
    }

    #[test]
    fn every_row_gives_its_kind_whatever_the_status() {
        for (code, kind) in TABLE {
            for status in [400, 403, 500, 503] {
                assert_eq!(of_code(code, status), *kind, "{code}");
            }
        }
    }

    #[test]
    fn an_unknown_code_is_judged_by_its_status() {
        for (status, kind) in [
            (400, Meaning::Invalid),
            (403, Meaning::Unauthorized),
            (429, Meaning::Throttled),
            (500, Meaning::Unknown),
            (302, Meaning::Unknown),
        ] {
            assert_eq!(of_code("NeverSeen", status), kind, "{status}");
        }
    }
}
