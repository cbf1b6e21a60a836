//! Errors of providers: each kind answers "what does the caller do next?".

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
