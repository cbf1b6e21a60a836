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

/// What a code means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`ProviderError::InvalidSpec`]
    Invalid,
    /// [`ProviderError::Unauthorized`]
    Unauthorized,
    /// [`ProviderError::NotFound`]
    NotFound,
    /// [`ProviderError::Conflict`]
    Conflict,
    /// [`ProviderError::QuotaExceeded`]
    Quota,
    /// [`ProviderError::InsufficientCapacity`]
    Capacity,
    /// [`ProviderError::RateLimited`]
    Throttled,
    /// [`ProviderError::NotReady`]
    NotReady,
    /// [`ProviderError::Unavailable`]
    Unavailable,
    /// [`ProviderError::OutcomeUnknown`] of a write, [`ProviderError::Unavailable`] of a read.
    Unknown,
}

/// What a call does, which decides what a lost answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// It changes nothing.
    Read,
    /// It may have been done.
    Write,
}

/// Every code of `data/codes.txt`, in its order.
pub const TABLE: &[(&str, Kind)] = &[
    ("AuthFailure", Kind::Unauthorized),
    ("Blocked", Kind::Unauthorized),
    ("DryRunOperation", Kind::Invalid),
    ("IdempotentParameterMismatch", Kind::Conflict),
    ("IncompleteSignature", Kind::Unauthorized),
    ("InvalidAction", Kind::Invalid),
    ("InvalidCharacter", Kind::Invalid),
    ("InvalidClientTokenId", Kind::Unauthorized),
    ("InvalidPaginationToken", Kind::Invalid),
    ("InvalidParameter", Kind::Invalid),
    ("InvalidParameterCombination", Kind::Invalid),
    ("InvalidParameterDependency", Kind::Invalid),
    ("InvalidParameterValue", Kind::Invalid),
    ("InvalidQueryParameter", Kind::Invalid),
    ("MalformedQueryString", Kind::Invalid),
    ("MissingAction", Kind::Invalid),
    ("MissingAuthenticationToken", Kind::Unauthorized),
    ("MissingParameter", Kind::Invalid),
    ("OptInRequired", Kind::Unauthorized),
    ("PendingVerification", Kind::Unauthorized),
    ("RequestExpired", Kind::Unauthorized),
    ("SignatureDoesNotMatch", Kind::Unauthorized),
    ("UnauthorizedOperation", Kind::Unauthorized),
    ("UnknownParameter", Kind::Invalid),
    ("UnsupportedOperation", Kind::Invalid),
    ("ValidationError", Kind::Invalid),
    ("DefaultVpcDoesNotExist", Kind::Invalid),
    ("DependencyViolation", Kind::NotReady),
    ("FilterLimitExceeded", Kind::Invalid),
    // The machine that the token made is terminated: the token makes no other.
    ("IdempotentInstanceTerminated", Kind::Conflict),
    ("IncorrectInstanceState", Kind::NotReady),
    ("IncorrectState", Kind::NotReady),
    ("InstanceLimitExceeded", Kind::Quota),
    // Another zone has another subnet, and so other addresses.
    ("InsufficientFreeAddressesInSubnet", Kind::Capacity),
    ("InvalidAMIID.Malformed", Kind::Invalid),
    ("InvalidAMIID.NotFound", Kind::Invalid),
    ("InvalidAMIID.Unavailable", Kind::Invalid),
    ("InvalidAvailabilityZone", Kind::Invalid),
    ("InvalidBlockDeviceMapping", Kind::Invalid),
    ("InvalidFilter", Kind::Invalid),
    ("InvalidGroup.NotFound", Kind::Invalid),
    ("InvalidGroupId.Malformed", Kind::Invalid),
    ("InvalidID", Kind::Invalid),
    ("InvalidInstanceID", Kind::NotReady),
    ("InvalidInstanceID.Malformed", Kind::NotFound),
    ("InvalidInstanceID.NotFound", Kind::NotFound),
    ("InvalidInstanceType", Kind::Invalid),
    ("InvalidInterface.IpAddressLimitExceeded", Kind::Quota),
    ("InvalidNetworkInterface.InUse", Kind::NotReady),
    ("InvalidNetworkInterfaceID.NotFound", Kind::NotFound),
    ("InvalidNetworkInterfaceId.Malformed", Kind::NotFound),
    ("InvalidNextToken", Kind::Invalid),
    ("InvalidParameterValue.Malformed", Kind::Invalid),
    ("InvalidSecurity.RequestHasExpired", Kind::Unauthorized),
    ("InvalidSecurityGroupID.NotFound", Kind::Invalid),
    ("InvalidSubnet", Kind::Invalid),
    ("InvalidSubnetID.NotFound", Kind::Invalid),
    ("InvalidUserData.Malformed", Kind::Invalid),
    ("InvalidVolume.NotFound", Kind::NotFound),
    ("InvalidVolumeID.Malformed", Kind::NotFound),
    ("MaxSpotInstanceCountExceeded", Kind::Quota),
    ("NetworkInterfaceLimitExceeded", Kind::Quota),
    ("NetworkInterfaceNotFound", Kind::NotFound),
    ("PendingSnapshotLimitExceeded", Kind::Quota),
    ("RequestLimitExceeded", Kind::Throttled),
    ("SecurityGroupsPerInstanceLimitExceeded", Kind::Invalid),
    ("SpotMaxPriceTooLow", Kind::Capacity),
    ("TagLimitExceeded", Kind::Invalid),
    // The zone does not have the type: another offering may be there.
    ("Unsupported", Kind::Capacity),
    ("VcpuLimitExceeded", Kind::Quota),
    ("VolumeInUse", Kind::NotReady),
    ("VolumeLimitExceeded", Kind::Quota),
    ("VolumeTypeNotAvailableInZone", Kind::Capacity),
    ("InsufficientAddressCapacity", Kind::Capacity),
    ("InsufficientCapacity", Kind::Capacity),
    ("InsufficientHostCapacity", Kind::Capacity),
    ("InsufficientInstanceCapacity", Kind::Capacity),
    ("InsufficientReservedInstanceCapacity", Kind::Capacity),
    ("InsufficientVolumeCapacity", Kind::Capacity),
    ("InternalError", Kind::Unknown),
    ("InternalFailure", Kind::Unknown),
    ("ServerInternal", Kind::Unknown),
    ("ServiceUnavailable", Kind::Unknown),
    ("Unavailable", Kind::Unknown),
    ("Throttling", Kind::Throttled),
    ("Gateway.NotAttached", Kind::NotFound),
    ("InternetGatewayLimitExceeded", Kind::Quota),
    ("InvalidGroup.Duplicate", Kind::Conflict),
    ("InvalidInternetGatewayID.NotFound", Kind::NotFound),
    ("InvalidPermission.Duplicate", Kind::Conflict),
    ("InvalidRouteTableID.NotFound", Kind::NotReady),
    ("InvalidSubnet.Conflict", Kind::Invalid),
    ("InvalidSubnet.Range", Kind::Invalid),
    ("InvalidVpcID.NotFound", Kind::Invalid),
    ("InvalidVpcRange", Kind::Invalid),
    ("Resource.AlreadyAssociated", Kind::Conflict),
    ("RouteAlreadyExists", Kind::Conflict),
    ("RouteLimitExceeded", Kind::Quota),
    ("RulesPerSecurityGroupLimitExceeded", Kind::Quota),
    ("SecurityGroupLimitExceeded", Kind::Quota),
    ("SubnetLimitExceeded", Kind::Quota),
    ("VpcLimitExceeded", Kind::Quota),
];

impl Kind {
    /// The error that a code of this kind is.
    fn error(self, call: Call, message: String) -> ProviderError {
        match self {
            Self::Invalid => ProviderError::InvalidSpec { message },
            Self::Unauthorized => ProviderError::Unauthorized { message },
            Self::NotFound => ProviderError::NotFound,
            Self::Conflict => ProviderError::Conflict { message },
            Self::Quota => ProviderError::QuotaExceeded { message },
            Self::Capacity => ProviderError::InsufficientCapacity { message },
            // EC2 does not say for how long.
            Self::Throttled => ProviderError::RateLimited { after: None },
            Self::NotReady => ProviderError::NotReady { message },
            Self::Unavailable => ProviderError::Unavailable { message },
            Self::Unknown => match call {
                Call::Read => ProviderError::Unavailable { message },
                Call::Write => ProviderError::OutcomeUnknown { message },
            },
        }
    }
}

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
        SdkError::TimeoutError(_) => Kind::Unknown.error(call, "no answer in time".to_owned()),
        SdkError::ResponseError(_) => Kind::Unknown.error(call, "the answer broke off".to_owned()),
        SdkError::DispatchFailure(_) | _ => undelivered(error, call),
    }
}

/// A code's kind. An unknown one of a 4xx was refused, so nothing was done; of a 5xx nobody knows.
fn of_code(code: &str, status: u16) -> Kind {
    let known = TABLE.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind);
    known.unwrap_or(match status {
        401 | 403 => Kind::Unauthorized,
        429 => Kind::Throttled,
        400..=499 => Kind::Invalid,
        _ => Kind::Unknown,
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
            return Kind::Unavailable.error(call, "connection refused".to_owned());
        }
        cause = at.source();
    }
    Kind::Unknown.error(call, "the connection broke".to_owned())
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
            (400, Kind::Invalid),
            (403, Kind::Unauthorized),
            (429, Kind::Throttled),
            (500, Kind::Unknown),
            (302, Kind::Unknown),
        ] {
            assert_eq!(of_code("NeverSeen", status), kind, "{status}");
        }
    }

    #[test]
    fn a_lost_answer_is_an_unknown_outcome_of_a_write_only() {
        let of = |call| Kind::Unknown.error(call, String::new()).kind();
        assert_eq!((of(Call::Write), of(Call::Read)), ("outcome_unknown", "unavailable"));
    }
}
