//! Azure's errors, by what the caller does next: one table of codes, and the status where a code is not in it. Pure.
//!
//! Microsoft's OpenAPI lists no codes. Those that its documentation lists for resources like ours are in
//! `data/error-codes.txt`, which a test holds against the table; the file says what it leaves out.

use std::time::Duration;

use isobar_engine_provider::ProviderError;
use isobar_engine_provider::error::{Call, Meaning};

/// Every code that is more than its status.
const TABLE: &[(&str, Meaning)] = &[
    ("AllocationFailed", Meaning::Capacity),
    ("AnotherOperationInProgress", Meaning::NotReady),
    ("AttachDiskWhileBeingDetached", Meaning::NotReady),
    ("AuthenticationFailed", Meaning::Unauthorized),
    ("AuthorizationFailed", Meaning::Unauthorized),
    ("BadRequest", Meaning::Invalid),
    ("Conflict", Meaning::Conflict),
    ("ConflictingUserInput", Meaning::Conflict),
    ("DiskBlobAlreadyInUseByAnotherDisk", Meaning::Conflict),
    ("ExpiredAuthenticationToken", Meaning::Unauthorized),
    ("GalleryImageNotFound", Meaning::Invalid),
    ("GatewayTimeout", Meaning::Unknown),
    ("ImageNotFound", Meaning::Invalid),
    ("InUseNetworkInterfaceCannotBeDeleted", Meaning::NotReady),
    ("InUseNetworkSecurityGroupCannotBeDeleted", Meaning::NotReady),
    ("InUseSubnetCannotBeDeleted", Meaning::NotReady),
    ("InternalOperationError", Meaning::Unknown),
    ("InternalServerError", Meaning::Unknown),
    ("InvalidApiVersionParameter", Meaning::Invalid),
    ("InvalidAuthenticationToken", Meaning::Unauthorized),
    ("InvalidAuthenticationTokenTenant", Meaning::Unauthorized),
    ("InvalidParameter", Meaning::Invalid),
    ("InvalidRequestContent", Meaning::Invalid),
    ("InvalidRequestFormat", Meaning::Invalid),
    ("InvalidResourceNamespace", Meaning::Invalid),
    ("InvalidResourceReference", Meaning::Invalid),
    ("InvalidResourceType", Meaning::Invalid),
    ("InvalidSubscriptionId", Meaning::Invalid),
    ("InvalidSubscriptionRegistrationState", Meaning::Unauthorized),
    ("LinkedAuthorizationFailed", Meaning::Unauthorized),
    ("LinkedInvalidPropertyId", Meaning::Invalid),
    ("LocationNotAvailableForResourceType", Meaning::Invalid),
    ("LocationRequired", Meaning::Invalid),
    ("MissingRegistrationForLocation", Meaning::Unauthorized),
    ("MissingSubscriptionRegistration", Meaning::Unauthorized),
    ("NicInUse", Meaning::NotReady),
    ("NicReservedForAnotherVm", Meaning::NotReady),
    ("NoRegisteredProviderFound", Meaning::Unauthorized),
    ("NotFound", Meaning::NotFound),
    ("OperationNotAllowed", Meaning::Quota),
    ("OperationPreempted", Meaning::NotReady),
    ("OverconstrainedAllocationRequest", Meaning::Capacity),
    ("OverconstrainedZonalAllocationRequest", Meaning::Capacity),
    ("ParentResourceNotFound", Meaning::Invalid),
    ("PreconditionFailed", Meaning::Conflict),
    ("PropertyChangeNotAllowed", Meaning::Conflict),
    ("PublicIPAddressCannotBeDeleted", Meaning::NotReady),
    ("PublicIPCountLimitReached", Meaning::Quota),
    ("QuotaExceeded", Meaning::Quota),
    ("ReferencedResourceNotProvisioned", Meaning::NotReady),
    ("RegionDoesNotAllowProvisioning", Meaning::Quota),
    ("RequestDisallowedByPolicy", Meaning::Unauthorized),
    ("RequestTimeout", Meaning::Unknown),
    ("ReservedResourceName", Meaning::Invalid),
    ("ResourceGroupBeingDeleted", Meaning::Invalid),
    ("ResourceGroupNotFound", Meaning::Invalid),
    ("ResourceNotFound", Meaning::NotFound),
    ("ResourceQuotaExceeded", Meaning::Quota),
    ("RetryableError", Meaning::NotReady),
    ("RetryableErrorDueToAnotherOperation", Meaning::NotReady),
    ("ScopeLocked", Meaning::Unauthorized),
    ("ServerBusy", Meaning::Throttled),
    ("ServerTimeout", Meaning::Unknown),
    ("ServiceUnavailable", Meaning::Unavailable),
    ("SkuNotAvailable", Meaning::Capacity),
    ("SpotVMNotAllowed", Meaning::Invalid),
    ("SubnetIsFull", Meaning::Capacity),
    ("SubscriptionNotFound", Meaning::Invalid),
    ("SubscriptionNotRegistered", Meaning::Unauthorized),
    ("SubscriptionRequestsThrottled", Meaning::Throttled),
    ("TooManyRequests", Meaning::Throttled),
    ("ZonalAllocationFailed", Meaning::Capacity),
];

/// What is gone with what it stood in: of an object that others made, as much as not found.
const GONE_AROUND: [&str; 2] = ["ParentResourceNotFound", "ResourceGroupNotFound"];

/// Whether a call was refused because what the resource stood in is gone.
pub(crate) fn is_gone_around(error: &ProviderError) -> bool {
    let said = |message: &str| {
        message
            .split_once(':')
            .is_some_and(|(code, _)| GONE_AROUND.contains(&code))
    };
    matches!(error, ProviderError::InvalidSpec { message } if said(message))
}

/// What a call that failed came back with.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    /// What was called.
    pub(crate) call: Call,
}

/// A code's kind; absent: it is not in the table.
pub(crate) fn kind_of(code: &str) -> Option<Meaning> {
    let row = TABLE.iter().find(|(known, _)| known.eq_ignore_ascii_case(code));
    row.map(|(_, kind)| *kind)
}

/// The kind of a status whose code says nothing. What is below 500 was refused; what is above may have been done.
fn kind_of_status(status: u16) -> Meaning {
    match status {
        401 | 403 => Meaning::Unauthorized,
        404 | 410 => Meaning::NotFound,
        408 => Meaning::Unknown,
        409 | 412 => Meaning::Conflict,
        429 => Meaning::Throttled,
        503 => Meaning::Unavailable,
        500.. => Meaning::Unknown,
        _ => Meaning::Invalid,
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        let kind = match failure.status {
            // Whatever its code: Azure has a code of its own for each limit.
            429 => Meaning::Throttled,
            // One code for two things: over a quota, or not with the resource as it is now (a disk that is in use).
            _ if failure.code == "OperationNotAllowed" && !failure.message.to_ascii_lowercase().contains("quota") => {
                Meaning::NotReady
            }
            status => kind_of(&failure.code).unwrap_or_else(|| kind_of_status(status)),
        };
        let Failure { code, message, .. } = failure;
        let message = match code.is_empty() {
            true => format!("{} {message}", failure.status),
            false => format!("{code}: {message}"),
        };
        if kind == Meaning::Throttled {
            return Self::RateLimited {
                after: failure.retry_after,
            };
        }
        kind.error(failure.call, message)
    }
}

#[cfg(test)]
mod tests {
    use isobar_engine_provider::error::Next;

    use super::*;

    static DOCUMENTED: &str = include_str!("../data/error-codes.txt");

    fn of(status: u16, code: &str, message: &str, call: Call) -> ProviderError {
        let failure = Failure {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
            retry_after: None,
            call,
        };
        failure.into()
    }

    #[test]
    fn every_documented_code_is_in_the_table_once() {
        let documented = DOCUMENTED.lines().filter(|line| !line.starts_with('#'));
        let missing: Vec<&str> = documented.filter(|code| kind_of(code).is_none()).collect();
        assert_eq!(missing, Vec::<&str>::new());
        assert!(TABLE.windows(2).all(|rows| rows[0].0 < rows[1].0), "sorted, none twice");
    }

    #[test]
    fn want_of_room_and_of_quota_take_the_next_candidate() {
        for code in [
            "AllocationFailed",
            "ZonalAllocationFailed",
            "OverconstrainedAllocationRequest",
            "OverconstrainedZonalAllocationRequest",
            "SkuNotAvailable",
            "SubnetIsFull",
            "QuotaExceeded",
            "ResourceQuotaExceeded",
            "PublicIPCountLimitReached",
            "RegionDoesNotAllowProvisioning",
        ] {
            assert_eq!(of(409, code, "", Call::Create).next(), Next::Fallback, "{code}");
        }
        let over = "results in exceeding approved standardDSv5Family Cores Quota";
        assert_eq!(
            of(409, "OperationNotAllowed", over, Call::Create).next(),
            Next::Fallback
        );
        let attached = "Disk d is attached to VM v";
        assert_eq!(
            of(409, "OperationNotAllowed", attached, Call::Create).kind(),
            "not_ready"
        );
    }

    #[test]
    fn a_network_in_use_or_still_being_made_is_waited_for() {
        for code in [
            "InUseNetworkSecurityGroupCannotBeDeleted",
            "InUseSubnetCannotBeDeleted",
            "ReferencedResourceNotProvisioned",
        ] {
            assert_eq!(of(400, code, "", Call::Create).kind(), "not_ready", "{code}");
        }
    }

    #[test]
    fn a_code_that_nobody_knows_is_taken_by_its_status() {
        for (status, call, kind) in [
            (400, Call::Create, "invalid_spec"),
            (401, Call::Create, "unauthorized"),
            (403, Call::Read, "unauthorized"),
            (404, Call::Read, "not_found"),
            (409, Call::Create, "conflict"),
            (412, Call::Create, "conflict"),
            (429, Call::Create, "rate_limited"),
            (500, Call::Create, "outcome_unknown"),
            (500, Call::Read, "unavailable"),
            (503, Call::Create, "unavailable"),
            (504, Call::Create, "outcome_unknown"),
        ] {
            assert_eq!(of(status, "NeverHeardOf", "", call).kind(), kind, "{status}");
        }
        assert_eq!(of(429, "OperationNotAllowed", "", Call::Create).kind(), "rate_limited");
    }
}
