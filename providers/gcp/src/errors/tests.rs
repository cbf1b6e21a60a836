use google_cloud_compute_v1::model::operation;
use google_cloud_gax::error::rpc::Status;
use isobar_engine_provider::error::Next;

use super::*;

/// What tools/errors/gcp.py lists.
const LISTED: &str = include_str!("../../data/error-codes.txt");

/// What a create that is refused with each code means: written apart from the table, so that a slip in it shows.
const EXPECTED: &[(&str, &str)] = &[
    (
        "unauthorized",
        "SERVICE_DISABLED BILLING_DISABLED API_KEY_INVALID API_KEY_SERVICE_BLOCKED \
         API_KEY_HTTP_REFERRER_BLOCKED API_KEY_IP_ADDRESS_BLOCKED API_KEY_ANDROID_APP_BLOCKED \
         API_KEY_IOS_APP_BLOCKED LOCATION_TAX_POLICY_VIOLATED USER_PROJECT_DENIED CONSUMER_SUSPENDED \
         CONSUMER_INVALID SECURITY_POLICY_VIOLATED ACCESS_TOKEN_EXPIRED ACCESS_TOKEN_SCOPE_INSUFFICIENT \
         ACCOUNT_STATE_INVALID ACCESS_TOKEN_TYPE_UNSUPPORTED CREDENTIALS_MISSING SESSION_COOKIE_INVALID \
         USER_BLOCKED_BY_ADMIN RESOURCE_USAGE_RESTRICTION_VIOLATED ORG_RESTRICTION_VIOLATION \
         ORG_RESTRICTION_HEADER_INVALID SERVICE_NOT_VISIBLE GCP_SUSPENDED LOCATION_POLICY_VIOLATED \
         MISSING_ORIGIN OVERLOADED_CREDENTIALS LOCATION_ORG_POLICY_VIOLATED TLS_ORG_POLICY_VIOLATED \
         CREDENTIAL_ANDROID_APP_INVALID IAM_PERMISSION_DENIED JWT_TOKEN_INVALID CREDENTIAL_TYPE_UNSUPPORTED \
         ACCOUNT_TYPE_UNSUPPORTED ENDPOINT_USAGE_RESTRICTION_VIOLATED TLS_CIPHER_RESTRICTION_VIOLATED \
         MCP_SERVER_DISABLED PERMISSION_DENIED UNAUTHENTICATED keyExpired keyInvalid authError expired \
         unauthorized accessNotConfigured accountDeleted accountDisabled accountUnverified forbidden \
         insufficientAudience insufficientAuthorizedParty insufficientPermissions sslRequired unknownAuth \
         PERMISSIONS_ERROR",
    ),
    (
        "rate_limited",
        "RATE_LIMIT_EXCEEDED RESOURCE_EXHAUSTED concurrentLimitExceeded dailyLimitExceeded \
         dailyLimitExceededUnreg limitExceeded rateLimitExceeded rateLimitExceededUnreg servingLimitExceeded \
         userRateLimitExceeded userRateLimitExceededUnreg variableTermExpiredDailyExceeded \
         variableTermLimitExceeded RESOURCE_OPERATION_RATE_EXCEEDED",
    ),
    (
        "quota_exceeded",
        "RESOURCE_QUOTA_EXCEEDED EMULATOR_QUOTA_EXCEEDED quotaExceeded QUOTA_EXCEEDED",
    ),
    (
        "invalid_spec",
        "RESOURCE_PROJECT_INVALID SYSTEM_PARAMETER_UNSUPPORTED INVALID_ARGUMENT FAILED_PRECONDITION \
         OUT_OF_RANGE badRequest invalid invalidHeader invalidParameter invalidQuery parseError required \
         unknownApi responseTooLarge httpMethodNotAllowed backendRequestTooLarge expectationFailed \
         preconditionRequired CONDITION_NOT_MET INVALID_FIELD_VALUE INVALID_USAGE",
    ),
    (
        "outcome_unknown",
        "CANCELLED UNKNOWN DEADLINE_EXCEEDED INTERNAL UNAVAILABLE DATA_LOSS internalError backendError \
         backendNotConnected notReady INTERNAL_ERROR",
    ),
    ("invalid_spec", "NOT_FOUND notFound deleted RESOURCE_NOT_FOUND"),
    (
        "conflict",
        "ALREADY_EXISTS conflict duplicate conditionNotMet alreadyExists resourceInUseByAnotherResource \
         RESOURCE_ALREADY_EXISTS RESOURCE_IN_USE_BY_ANOTHER_RESOURCE",
    ),
    ("not_ready", "ABORTED resourceNotReady RESOURCE_NOT_READY"),
    (
        "unsupported",
        "UNIMPLEMENTED notImplemented unsupportedMethod UNSUPPORTED_OPERATION",
    ),
    (
        "insufficient_capacity",
        "insufficientCapacity ZONE_RESOURCE_POOL_EXHAUSTED ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
    ),
];

fn listed() -> Vec<&'static str> {
    LISTED.lines().filter(|line| !line.starts_with('#')).collect()
}

/// An error as Google's client makes it of `{"error": {"errors": [{"reason": code}]}}`.
fn said(code: &str, status: u16) -> Error {
    let detail = format!(r#"{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"{code}"}}"#);
    let detail: StatusDetails = serde_json::from_str(&detail).expect("Google's form");
    let read = Status::default().set_message("why").set_details([detail]);
    Error::service_with_http_metadata(read, Some(status), None)
}

fn failed(code: &str) -> Operation {
    let error = operation::error::Errors::new().set_code(code).set_message("why");
    Operation::new().set_error(operation::Error::new().set_errors([error]))
}

fn create(error: &Error) -> ProviderError {
    of_call(error, Call::Create, &Source::Metadata)
}

#[test]
fn every_listed_code_has_a_row_and_every_row_is_listed() {
    let unmapped: Vec<&str> = listed().into_iter().filter(|code| meaning(code).is_none()).collect();
    assert_eq!(unmapped, [""; 0], "codes without a meaning");
    let listed = listed();
    let unlisted: Vec<&str> = table::codes().filter(|code| !listed.contains(code)).collect();
    assert_eq!(unlisted, [""; 0], "rows that tools/errors/gcp.py does not list");
    assert!(listed.len() > 100, "too few to be right");
}

#[test]
fn every_code_means_what_its_caller_does_next() {
    let mut checked = 0;
    for (kind, codes) in EXPECTED {
        for code in codes.split_whitespace() {
            assert_eq!(create(&said(code, 400)).kind(), *kind, "{code}");
            checked += 1;
        }
    }
    assert_eq!(checked, table::codes().count(), "a row without an expectation");
}

#[test]
fn what_a_read_does_not_find_is_not_there_and_what_a_create_does_not_find_is_named_by_it() {
    let missing = said("notFound", 404);
    assert_eq!(
        of_call(&missing, Call::Read, &Source::Metadata),
        ProviderError::NotFound
    );
    assert_eq!(
        of_call(&missing, Call::Delete, &Source::Metadata),
        ProviderError::NotFound
    );
    assert_eq!(create(&missing).kind(), "invalid_spec");
}

#[test]
fn a_server_s_error_is_unknown_for_a_write_and_away_for_a_read() {
    let broken = said("backendError", 503);
    assert_eq!(create(&broken).kind(), "outcome_unknown");
    assert_eq!(of_call(&broken, Call::Read, &Source::Metadata).kind(), "unavailable");
}

#[test]
fn an_unknown_code_falls_back_by_its_status() {
    for (status, kind) in [
        (400, "invalid_spec"),
        (401, "unauthorized"),
        (403, "unauthorized"),
        (409, "conflict"),
        (412, "conflict"),
        (422, "invalid_spec"),
        (429, "rate_limited"),
        (500, "outcome_unknown"),
        (503, "outcome_unknown"),
    ] {
        assert_eq!(create(&said("neverHeardOf", status)).kind(), kind, "{status}");
        let plain = Error::http(status, Default::default(), "<html>".into());
        assert_eq!(create(&plain).kind(), kind, "{status} without a body of Google's");
    }
}

#[test]
fn a_call_that_was_cut_off_is_unknown_and_one_that_never_connected_did_nothing() {
    assert_eq!(create(&Error::io("reset")).kind(), "outcome_unknown");
    assert_eq!(create(&Error::timeout("late")).kind(), "outcome_unknown");
    assert_eq!(
        of_call(&Error::io("reset"), Call::Read, &Source::Metadata).kind(),
        "unavailable"
    );
    assert_eq!(create(&Error::deser("no JSON")).kind(), "outcome_unknown");
    assert_eq!(
        of_call(&Error::deser("no JSON"), Call::Read, &Source::Metadata).kind(),
        "unexpected"
    );
    assert_eq!(create(&Error::connect("refused")).kind(), "unavailable");
}

#[test]
fn a_failed_operation_is_over_whatever_its_code() {
    let mut codes = listed();
    codes.push("NEVER_HEARD_OF");
    for code in codes {
        let meant = of_operation(&failed(code), Call::Create).expect("a failure");
        let over = match meant.next() {
            Next::GiveUp | Next::Fallback => true,
            // The name is taken: whoever asks looks at what has it.
            Next::FindOut => matches!(meant, ProviderError::Conflict { .. }),
            Next::Again => false,
        };
        assert!(over, "{code}: {meant:?}");
    }
    assert_eq!(
        of_operation(&failed("ZONE_RESOURCE_POOL_EXHAUSTED"), Call::Create).map(|e| e.next()),
        Some(Next::Fallback)
    );
    assert_eq!(
        of_operation(&failed("QUOTA_EXCEEDED"), Call::Create).map(|e| e.next()),
        Some(Next::Fallback)
    );
    assert_eq!(of_operation(&Operation::new(), Call::Create), None);
}

#[test]
fn what_is_used_by_something_else_is_deleted_later_and_a_failed_deletion_is_asked_for_anew() {
    let used = said("resourceInUseByAnotherResource", 400);
    assert_eq!(of_call(&used, Call::Delete, &Source::Metadata).kind(), "not_ready");
    for (code, kind) in [
        ("RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", "not_ready"),
        ("RESOURCE_NOT_READY", "not_ready"),
        ("RESOURCE_OPERATION_RATE_EXCEEDED", "rate_limited"),
        ("INTERNAL_ERROR", "outcome_unknown"),
        ("RESOURCE_NOT_FOUND", "not_found"),
        ("PERMISSIONS_ERROR", "unauthorized"),
        ("NEVER_HEARD_OF", "unexpected"),
    ] {
        let meant = of_operation(&failed(code), Call::Delete).expect("a failure");
        assert_eq!(meant.kind(), kind, "{code}");
    }
}

#[test]
fn a_message_of_the_cloud_s_is_bounded() {
    let long = Operation::new()
        .set_http_error_status_code(400)
        .set_http_error_message("x".repeat(10_000));
    let meant = of_operation(&long, Call::Create).expect("a failure").to_string();
    assert!(meant.len() < 2 * MESSAGE_MAX_CHARS, "{}", meant.len());
}
