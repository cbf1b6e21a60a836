//! Errors of providers: each kind answers "what does the caller do next?". Clouds say codes: each provider has a table from
//! its cloud's codes to a [`Meaning`], which becomes an error here and nowhere else.

use std::time::Duration;

/// What a provider call gives.
pub type Result<T> = std::result::Result<T, ProviderError>;

/// Why a provider call failed, by what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The request can never work: change it.
    #[error("the provider refuses the request: {message}")]
    InvalidSpec {
        /// The provider's words.
        message: String,
    },
    /// The credentials do not allow it: give others.
    #[error("not allowed: {message}")]
    Unauthorized {
        /// The provider's words.
        message: String,
    },
    /// There is no such resource, or it is not visible yet.
    #[error("no such resource")]
    NotFound,
    /// It was there and has ended; the provider still knows it and says so for certain.
    #[error("it has ended")]
    Gone,
    /// The token or name is in use for something else: read it and compare the tags.
    #[error("in use for something else: {message}")]
    Conflict {
        /// The provider's words.
        message: String,
    },
    /// The account may not have more: take the next fallback.
    #[error("over the account's quota: {message}")]
    QuotaExceeded {
        /// The provider's words.
        message: String,
    },
    /// The provider has none left: take the next fallback.
    #[error("the provider has none left: {message}")]
    InsufficientCapacity {
        /// The provider's words.
        message: String,
    },
    /// Too many calls: wait, then send the same again.
    #[error("too many calls")]
    RateLimited {
        /// How long to wait, if the provider said so.
        after: Option<Duration>,
    },
    /// It cannot be done to the resource as it is now: ask again later.
    #[error("not ready: {message}")]
    NotReady {
        /// The provider's words.
        message: String,
    },
    /// The provider cannot do this at all.
    #[error("not supported: {message}")]
    Unsupported {
        /// What is not.
        message: String,
    },
    /// It may or may not have been done: send the same token again, or look.
    #[error("the outcome is not known: {message}")]
    OutcomeUnknown {
        /// What happened.
        message: String,
    },
    /// Nothing was done; the provider is away: send the same again later.
    #[error("the provider does not answer: {message}")]
    Unavailable {
        /// What happened.
        message: String,
    },
    /// The provider answered something that its documentation does not allow: report it.
    #[error("unexpected answer: {message}")]
    Unexpected {
        /// What it said.
        message: String,
    },
}

/// What a call was, which decides what a code and a lost answer mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// It changes nothing.
    Read,
    /// It makes something new: what is not found is named by the request.
    Create,
    /// It deletes.
    Delete,
}

/// What a cloud's code means, before one knows what was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Change the request.
    Invalid,
    /// Give other credentials.
    Unauthorized,
    /// There is none.
    NotFound,
    /// In use for something else.
    Conflict,
    /// Something else uses it: a deletion waits for that.
    InUse,
    /// Over a quota.
    Quota,
    /// None left.
    Capacity,
    /// Wait.
    Throttled,
    /// Not now.
    NotReady,
    /// The cloud cannot do it.
    Unsupported,
    /// Nothing was done.
    Unavailable,
    /// The cloud failed on its way: a change may have been made.
    Unknown,
}

impl Meaning {
    /// The error of a call that failed so. How long a throttled caller waits is for whoever read the answer to add.
    pub fn error(self, call: Call, message: String) -> ProviderError {
        match (self, call) {
            (Self::Invalid, _) | (Self::NotFound, Call::Create) => ProviderError::InvalidSpec { message },
            (Self::Unauthorized, _) => ProviderError::Unauthorized { message },
            (Self::NotFound, Call::Read | Call::Delete) => ProviderError::NotFound,
            (Self::Conflict, _) | (Self::InUse, Call::Create | Call::Read) => ProviderError::Conflict { message },
            (Self::InUse, Call::Delete) => ProviderError::NotReady { message },
            (Self::Quota, _) => ProviderError::QuotaExceeded { message },
            (Self::Capacity, _) => ProviderError::InsufficientCapacity { message },
            (Self::Throttled, _) => ProviderError::RateLimited { after: None },
            (Self::NotReady, _) => ProviderError::NotReady { message },
            (Self::Unsupported, _) => ProviderError::Unsupported { message },
            (Self::Unknown, Call::Create | Call::Delete) => ProviderError::OutcomeUnknown { message },
            (Self::Unavailable, _) | (Self::Unknown, Call::Read) => ProviderError::Unavailable { message },
        }
    }
}

/// What the caller of a failed `create` or `delete` does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same again, after a pause.
    Again,
    /// Find out first: the same token again, or look by name and tag.
    FindOut,
    /// The plan's next candidate.
    Fallback,
    /// Nothing: it cannot work.
    GiveUp,
}

impl ProviderError {
    /// What the caller of a failed write does next.
    pub fn next(&self) -> Next {
        match self {
            Self::RateLimited { .. } | Self::NotReady { .. } | Self::Unavailable { .. } => Next::Again,
            Self::OutcomeUnknown { .. } | Self::Conflict { .. } => Next::FindOut,
            Self::QuotaExceeded { .. } | Self::InsufficientCapacity { .. } => Next::Fallback,
            Self::InvalidSpec { .. }
            | Self::Unauthorized { .. }
            | Self::NotFound
            | Self::Gone
            | Self::Unsupported { .. }
            | Self::Unexpected { .. } => Next::GiveUp,
        }
    }

    /// Whether the resource that a call was about is not there: for good, or as far as the provider can see.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::NotFound | Self::Gone)
    }

    /// The kind, as one word for fields and tables.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InvalidSpec { .. } => "invalid_spec",
            Self::Unauthorized { .. } => "unauthorized",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::Conflict { .. } => "conflict",
            Self::QuotaExceeded { .. } => "quota_exceeded",
            Self::InsufficientCapacity { .. } => "insufficient_capacity",
            Self::RateLimited { .. } => "rate_limited",
            Self::NotReady { .. } => "not_ready",
            Self::Unsupported { .. } => "unsupported",
            Self::OutcomeUnknown { .. } => "outcome_unknown",
            Self::Unavailable { .. } => "unavailable",
            Self::Unexpected { .. } => "unexpected",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meaning_is_an_error_by_what_was_called() {
        for (meaning, read, create, delete) in [
            (Meaning::Invalid, "invalid_spec", "invalid_spec", "invalid_spec"),
            (Meaning::Unauthorized, "unauthorized", "unauthorized", "unauthorized"),
            (Meaning::NotFound, "not_found", "invalid_spec", "not_found"),
            (Meaning::Conflict, "conflict", "conflict", "conflict"),
            (Meaning::Quota, "quota_exceeded", "quota_exceeded", "quota_exceeded"),
            (
                Meaning::Capacity,
                "insufficient_capacity",
                "insufficient_capacity",
                "insufficient_capacity",
            ),
            (Meaning::Throttled, "rate_limited", "rate_limited", "rate_limited"),
            (Meaning::NotReady, "not_ready", "not_ready", "not_ready"),
            (Meaning::Unsupported, "unsupported", "unsupported", "unsupported"),
            (Meaning::Unavailable, "unavailable", "unavailable", "unavailable"),
            (Meaning::Unknown, "unavailable", "outcome_unknown", "outcome_unknown"),
        ] {
            let kind = |call| meaning.error(call, "why".to_owned()).kind();
            let kinds = [Call::Read, Call::Create, Call::Delete].map(kind);
            assert_eq!(kinds, [read, create, delete], "{meaning:?}");
        }
    }
}
