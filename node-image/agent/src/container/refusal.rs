//! What each kind of trouble means to the supervisor: try again later, or never.

use std::io;

use super::net::NetworkError;
use super::wire::{Failure, Reply};
use crate::runtime::RuntimeError;

/// The helper's refusal.
pub(super) fn refused(reply: Reply) -> RuntimeError {
    match reply {
        Reply::Failed {
            kind: Failure::CannotStart,
            message,
        } => RuntimeError::CannotStart(message),
        Reply::Failed {
            kind: Failure::BadImage,
            message,
        } => RuntimeError::BadImage(message),
        Reply::Failed {
            kind: Failure::Full,
            message,
        } => RuntimeError::Full(message),
        Reply::Failed {
            kind: Failure::Other,
            message,
        } => RuntimeError::Failed(message),
        Reply::Created { .. } | Reply::Started | Reply::Exited { .. } | Reply::TimedOut | Reply::Unpacked { .. } => {
            RuntimeError::Failed("helper answered something else".into())
        }
    }
}

/// The helper could not be started, or ended without an answer.
pub(super) fn helper_lost(error: io::Error) -> RuntimeError {
    RuntimeError::Failed(format!("helper: {error}"))
}

/// No address, or no port.
pub(super) fn no_network(error: &NetworkError) -> RuntimeError {
    let message = crate::chain(error);
    match error {
        NetworkError::NoAddress => RuntimeError::Full(message),
        NetworkError::PortTaken { .. } => RuntimeError::CannotStart(message),
        NetworkError::System { .. } => RuntimeError::Failed(message),
    }
}

/// A container's files cannot be written.
pub(super) fn no_room(what: &str, error: &io::Error) -> RuntimeError {
    if error.raw_os_error() == Some(libc::ENOSPC) {
        RuntimeError::Full(format!("{what}: {error}"))
    } else {
        RuntimeError::Failed(format!("{what}: {error}"))
    }
}
