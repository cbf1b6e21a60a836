//! Azure's errors, by what the caller does next: one table of codes, and the status where a code is not in it. Pure.
//!
//! Microsoft's OpenAPI lists no codes. Those that its documentation lists for resources like ours are in
//! `data/error-codes.txt`, which a test holds against the table; the file says what it leaves out.

use std::time::Duration;

use isobar_engine_provider::ProviderError;

/// What a code means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Change the request.
    Invalid,
    /// Give other credentials.
    Unauthorized,
    /// There is none.
    NotFound,
    /// In use for something else.
    Conflict,
    /// Over a quota.
    Quota,
    /// None left.
    Capacity,
    /// Wait.
    Throttled,
    /// Not now.
    NotReady,
    /// Nothing was done.
    Unavailable,
    /// Of a write: it may have been done.
    Unknown,
}

/// Every code that is more than its status.
pub const TABLE: &[(&str, Kind)] = &[
    ("AllocationFailed", Kind::Capacity),
    ("AnotherOperationInProgress", Kind::NotReady),
    ("AttachDiskWhileBeingDetached", Kind::NotReady),
    ("AuthenticationFailed", Kind::Unauthorized),
    ("AuthorizationFailed", Kind::Unauthorized),
    ("BadRequest", Kind::Invalid),
    ("Conflict", Kind::Conflict),
    ("ConflictingUserInput", Kind::Conflict),
    ("DiskBlobAlreadyInUseByAnotherDisk", Kind::Conflict),
    ("ExpiredAuthenticationToken", Kind::Unauthorized),
    ("GalleryImageNotFound", Kind::Invalid),
    ("GatewayTimeout", Kind::Unknown),
    ("ImageNotFound", Kind::Invalid),
    ("InUseNetworkInterfaceCannotBeDeleted", Kind::NotReady),
    ("InternalOperationError", Kind::Unknown),
    ("InternalServerError", Kind::Unknown),
    ("InvalidApiVersionParameter", Kind::Invalid),
    ("InvalidAuthenticationToken", Kind::Unauthorized),
    ("InvalidAuthenticationTokenTenant", Kind::Unauthorized),
    ("InvalidParameter", Kind::Invalid),
    ("InvalidRequestContent", Kind::Invalid),
    ("InvalidRequestFormat", Kind::Invalid),
    ("InvalidResourceNamespace", Kind::Invalid),
    ("InvalidResourceReference", Kind::Invalid),
    ("InvalidResourceType", Kind::Invalid),
    ("InvalidSubscriptionId", Kind::Invalid),
    ("InvalidSubscriptionRegistrationState", Kind::Unauthorized),
    ("LinkedAuthorizationFailed", Kind::Unauthorized),
    ("LinkedInvalidPropertyId", Kind::Invalid),
    ("LocationNotAvailableForResourceType", Kind::Invalid),
    ("LocationRequired", Kind::Invalid),
    ("MissingRegistrationForLocation", Kind::Unauthorized),
    ("MissingSubscriptionRegistration", Kind::Unauthorized),
    ("NicInUse", Kind::NotReady),
    ("NicReservedForAnotherVm", Kind::NotReady),
    ("NoRegisteredProviderFound", Kind::Unauthorized),
    ("NotFound", Kind::NotFound),
    ("OperationNotAllowed", Kind::Quota),
    ("OperationPreempted", Kind::NotReady),
    ("OverconstrainedAllocationRequest", Kind::Capacity),
    ("OverconstrainedZonalAllocationRequest", Kind::Capacity),
    ("ParentResourceNotFound", Kind::Invalid),
    ("PreconditionFailed", Kind::Conflict),
    ("PropertyChangeNotAllowed", Kind::Conflict),
    ("PublicIPAddressCannotBeDeleted", Kind::NotReady),
    ("PublicIPCountLimitReached", Kind::Quota),
    ("QuotaExceeded", Kind::Quota),
    ("RegionDoesNotAllowProvisioning", Kind::Quota),
    ("RequestDisallowedByPolicy", Kind::Unauthorized),
    ("RequestTimeout", Kind::Unknown),
    ("ReservedResourceName", Kind::Invalid),
    ("ResourceGroupBeingDeleted", Kind::Invalid),
    ("ResourceGroupNotFound", Kind::Invalid),
    ("ResourceNotFound", Kind::NotFound),
    ("ResourceQuotaExceeded", Kind::Quota),
    ("RetryableError", Kind::NotReady),
    ("RetryableErrorDueToAnotherOperation", Kind::NotReady),
    ("ScopeLocked", Kind::Unauthorized),
    ("ServerBusy", Kind::Throttled),
    ("ServerTimeout", Kind::Unknown),
    ("ServiceUnavailable", Kind::Unavailable),
    ("SkuNotAvailable", Kind::Capacity),
    ("SpotVMNotAllowed", Kind::Invalid),
    ("SubnetIsFull", Kind::Capacity),
    ("SubscriptionNotFound", Kind::Invalid),
    ("SubscriptionNotRegistered", Kind::Unauthorized),
    ("SubscriptionRequestsThrottled", Kind::Throttled),
    ("TooManyRequests", Kind::Throttled),
    ("ZonalAllocationFailed", Kind::Capacity),
];

/// What a call that failed came back with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
    /// The call may have changed something.
    pub(crate) write: bool,
}

/// A code's kind; absent: it is not in the table.
pub(crate) fn kind_of(code: &str) -> Option<Kind> {
    let row = TABLE.iter().find(|(known, _)| known.eq_ignore_ascii_case(code));
    row.map(|(_, kind)| *kind)
}

/// The kind of a status whose code says nothing. What is below 500 was refused; what is above may have been done.
fn kind_of_status(status: u16) -> Kind {
    match status {
        401 | 403 => Kind::Unauthorized,
        404 | 410 => Kind::NotFound,
        408 => Kind::Unknown,
        409 | 412 => Kind::Conflict,
        429 => Kind::Throttled,
        503 => Kind::Unavailable,
        500.. => Kind::Unknown,
        _ => Kind::Invalid,
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        let kind = match failure.status {
            // Whatever its code: Azure has a code of its own for each limit.
            429 => Kind::Throttled,
            // One code for two things: over a quota, or not with the resource as it is now (a disk that is in use).
            _ if failure.code == "OperationNotAllowed" && !failure.message.to_ascii_lowercase().contains("quota") => {
                Kind::NotReady
            }
            status => kind_of(&failure.code).unwrap_or_else(|| kind_of_status(status)),
        };
        let Failure { code, message, .. } = failure;
        let message = match code.is_empty() {
            true => format!("{} {message}", failure.status),
            false => format!("{code}: {message}"),
        };
        match kind {
            Kind::Invalid => Self::InvalidSpec { message },
            Kind::Unauthorized => Self::Unauthorized { message },
            Kind::NotFound => Self::NotFound,
            Kind::Conflict => Self::Conflict { message },
            Kind::Quota => Self::QuotaExceeded { message },
            Kind::Capacity => Self::InsufficientCapacity { message },
            Kind::Throttled => Self::RateLimited {
                after: failure.retry_after,
            },
            Kind::NotReady => Self::NotReady { message },
            Kind::Unavailable => Self::Unavailable { message },
            Kind::Unknown if failure.write => Self::OutcomeUnknown { message },
            Kind::Unknown => Self::Unavailable { message },
        }
    }
}

#[cfg(test)]
mod tests {
    use isobar_engine_provider::error::Next;

    use super::*;

    static DOCUMENTED: &str = include_str!("../data/error-codes.txt");

    fn of(status: u16, code: &str, message: &str, write: bool) -> ProviderError {
        let failure = Failure {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
            retry_after: None,
            write,
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
            assert_eq!(of(409, code, "", true).next(), Next::Fallback, "{code}");
        }
        let over = "results in exceeding approved standardDSv5Family Cores Quota";
        assert_eq!(of(409, "OperationNotAllowed", over, true).next(), Next::Fallback);
        let attached = "Disk d is attached to VM v";
        assert_eq!(of(409, "OperationNotAllowed", attached, true).kind(), "not_ready");
    }

    #[test]
    fn a_code_that_nobody_knows_is_taken_by_its_status() {
        for (status, write, kind) in [
            (400, true, "invalid_spec"),
            (401, true, "unauthorized"),
            (403, false, "unauthorized"),
            (404, false, "not_found"),
            (409, true, "conflict"),
            (412, true, "conflict"),
            (429, true, "rate_limited"),
            (500, true, "outcome_unknown"),
            (500, false, "unavailable"),
            (503, true, "unavailable"),
            (504, true, "outcome_unknown"),
        ] {
            assert_eq!(of(status, "NeverHeardOf", "", write).kind(), kind, "{status}");
        }
        assert_eq!(of(429, "OperationNotAllowed", "", true).kind(), "rate_limited");
    }
}
