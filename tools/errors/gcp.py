#!/usr/bin/env python3
"""Lists the error codes that calls of Compute Engine can answer with: see providers/gcp/src/errors.rs for what they mean.

usage: gcp.py GOOGLEAPIS_COMMON_PROTOS.whl OUT.txt

Google's discovery document names no codes. Two lists are official and machine-readable, in the wheel of
googleapis-common-protos (PyPI, Apache-2.0): `google.api.ErrorReason` and `google.rpc.Code`. The rest is kept here by hand, each
group beside where it is from.
"""

import re
import sys
import zipfile

PROTOS = {
    "google.api.ErrorReason": ("google/api/error_reason.proto", "ERROR_REASON_UNSPECIFIED"),
    "google.rpc.Code": ("google/rpc/code.proto", "OK"),
}

PAGES = {
    # What a refused call says in `errors[].reason`; those of uploads, downloads and redirects are left out.
    "https://cloud.google.com/resource-manager/docs/core_errors": """
        badRequest invalid invalidHeader invalidParameter invalidQuery keyExpired keyInvalid parseError required unknownApi
        authError expired unauthorized
        accessNotConfigured accountDeleted accountDisabled accountUnverified concurrentLimitExceeded dailyLimitExceeded
        dailyLimitExceededUnreg forbidden insufficientAudience insufficientAuthorizedParty insufficientPermissions
        limitExceeded quotaExceeded rateLimitExceeded rateLimitExceededUnreg responseTooLarge servingLimitExceeded
        sslRequired unknownAuth userRateLimitExceeded userRateLimitExceededUnreg variableTermExpiredDailyExceeded
        variableTermLimitExceeded
        notFound httpMethodNotAllowed conflict duplicate deleted conditionNotMet backendRequestTooLarge
        expectationFailed preconditionRequired internalError notImplemented unsupportedMethod
        backendError backendNotConnected notReady""",
    "https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-bulk-vm-creation": """
        insufficientCapacity""",
    # Compute Engine's own, which no page lists; issues of its users show them: hashicorp/terraform 23698,
    # vmware-archive/terraforming-gcp 9, opstrace/opstrace 1218.
    "issues of users: reasons of refused calls": """
        alreadyExists resourceInUseByAnotherResource resourceNotReady""",
    # What a failed operation says in `error.errors[].code`.
    "https://docs.cloud.google.com/compute/docs/troubleshooting/troubleshooting-resource-availability": """
        ZONE_RESOURCE_POOL_EXHAUSTED ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS""",
    "Operation.error.errors.errorDetails of the discovery document": "QUOTA_EXCEEDED",
    # No page lists these. One that is missing ends an operation all the same: see `of_operation`.
    "by hand: codes of failed operations": """
        CONDITION_NOT_MET INTERNAL_ERROR INVALID_FIELD_VALUE INVALID_USAGE PERMISSIONS_ERROR
        RESOURCE_ALREADY_EXISTS RESOURCE_IN_USE_BY_ANOTHER_RESOURCE RESOURCE_NOT_FOUND RESOURCE_NOT_READY
        RESOURCE_OPERATION_RATE_EXCEEDED UNSUPPORTED_OPERATION""",
}


def of_proto(wheel: zipfile.ZipFile, path: str, nothing: str) -> list[str]:
    text = wheel.read(path).decode()
    return [name for name in re.findall(r"^  ([A-Z][A-Z_0-9]*) = \d+;", text, re.MULTILINE) if name != nothing]


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    lines = ["# Written by tools/errors/gcp.py. A line with `#` names the source of those below it."]
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        for name, (path, nothing) in PROTOS.items():
            lines += [f"# {name}", *of_proto(wheel, path, nothing)]
    for page, codes in PAGES.items():
        lines += [f"# {page}", *codes.split()]
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
