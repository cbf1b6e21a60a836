//! Why an image could not be built. Each message names the thing; the hint says what to do.

use std::path::PathBuf;

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{action} {path}")]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A program that the build needs is not installed.
    #[error("`{program}` is not installed\nhint: run `apt-get install {package}`")]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// Where Debian has it.
        package: &'static str,
    },
    /// A program that the build needs failed.
    #[error("`{command}` failed: {message}\nhint: {hint}")]
    Program {
        /// The command line.
        command: String,
        /// The end of what it wrote to its error stream.
        message: String,
        /// What to do.
        hint: &'static str,
    },
    /// The kernel is not in a form that is understood.
    #[error("{path} is not a kernel that can be unpacked: {message}")]
    Kernel {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A module cannot be put into the image.
    #[error("kernel module `{module}`: {message}")]
    Module {
        /// Which module.
        module: String,
        /// What is wrong with it.
        message: String,
    },
    /// The agent is not a static binary.
    #[error(
        "{path} is not a static x86-64 binary: {message}\nhint: build it with `-C target-feature=+crt-static` and `--target x86_64-unknown-linux-gnu`"
    )]
    Agent {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        message: &'static str,
    },
    /// A program cannot be put into the image.
    #[error("{path} cannot be put into the image: {message}")]
    Linked {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Something does not fit the archive.
    #[error("{path} does not fit into the initramfs: {message}")]
    Archive {
        /// Path inside the archive.
        path: String,
        /// Why not.
        message: &'static str,
    },
}

/// What a step of the build gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
