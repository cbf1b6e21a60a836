//! Who we are to Google: a file that the starter named, or Google's own chain (the file that
//! `GOOGLE_APPLICATION_CREDENTIALS` names, gcloud's file, the metadata server). Never prints what it reads.

use std::path::{Path, PathBuf};

use google_cloud_auth::credentials::{
    Builder, Credentials, external_account, impersonated, service_account, user_account,
};
use isobar_engine_provider::{ProviderError, Result};

/// What Google's clients read first.
const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// Where `gcloud auth application-default login` writes, below the home folder.
const WELL_KNOWN: &str = ".config/gcloud/application_default_credentials.json";
/// What the calls are for; what they may do is said by roles.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The starter named it.
    File(PathBuf),
    /// The variable names it.
    Variable(PathBuf),
    /// gcloud wrote it.
    WellKnown(PathBuf),
    /// No file: the machine that we run on may have an account.
    Metadata,
}

impl Source {
    /// Which of the chain's places holds: the first that is there.
    pub(crate) fn find(named: Option<&Path>) -> Self {
        if let Some(file) = named {
            return Self::File(file.to_owned());
        }
        if let Some(file) = std::env::var_os(VARIABLE) {
            return Self::Variable(PathBuf::from(file));
        }
        let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(WELL_KNOWN));
        home.filter(|file| file.is_file())
            .map_or(Self::Metadata, Self::WellKnown)
    }

    /// The credentials themselves. The files are read now, the metadata server is asked at the first call.
    pub(crate) fn credentials(&self) -> Result<Credentials> {
        match self {
            Self::File(file) => self.of_file(file),
            Self::Variable(_) | Self::WellKnown(_) | Self::Metadata => Builder::default()
                .with_scopes([SCOPE])
                .build()
                .map_err(|error| self.refused(&error.to_string())),
        }
    }

    /// That no call can be made with them, with where they were looked for.
    pub(crate) fn refused(&self, why: &str) -> ProviderError {
        ProviderError::Unauthorized {
            message: format!("{why}; {}", self.tried()),
        }
    }

    fn tried(&self) -> String {
        match self {
            Self::File(file) => format!("credentials are from {}", file.display()),
            Self::Variable(file) => format!("credentials are from {}, which {VARIABLE} names", file.display()),
            Self::WellKnown(file) => format!("{VARIABLE} is not set; credentials are from {}", file.display()),
            Self::Metadata => format!(
                "{VARIABLE} is not set and ~/{WELL_KNOWN} is not there, so the metadata server was asked: set the \
                 variable, or run `gcloud auth application-default login`"
            ),
        }
    }

    fn of_file(&self, file: &Path) -> Result<Credentials> {
        let text = std::fs::read_to_string(file).map_err(|error| self.refused(&error.to_string()))?;
        let read: serde_json::Value =
            serde_json::from_str(&text).map_err(|_| self.refused("the file of credentials is no JSON"))?;
        let kind = read
            .get("type")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let built = match kind.as_str() {
            "authorized_user" => user_account::Builder::new(read).with_scopes([SCOPE]).build(),
            "service_account" => service_account::Builder::new(read)
                .with_access_specifier(service_account::AccessSpecifier::from_scopes([SCOPE]))
                .build(),
            "external_account" => external_account::Builder::new(read).with_scopes([SCOPE]).build(),
            "impersonated_service_account" => impersonated::Builder::new(read).with_scopes([SCOPE]).build(),
            other => return Err(self.refused(&format!("credentials of type `{other}` are not known"))),
        };
        built.map_err(|error| self.refused(&error.to_string()))
    }
}
