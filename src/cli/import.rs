//! Taking over what others made.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use isobar_engine_model::id::{AdoptedName, ClusterName};

#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// Take over what states of Terraform or OpenTofu name; nothing in any cloud is changed
    #[command(
        after_help = "Examples:\n  terraform state pull | isobar import terraform - --cluster estate --spec sites.yaml --write-spec estate.yaml\n  isobar import terraform states/ --cluster estate --answer 'provider[\"registry.terraform.io/hashicorp/aws\"]=123456789012,eu-central-1'\n\nAn encrypted state's passphrase is taken from ISOBAR_STATE_PASSPHRASE, its key in hex from ISOBAR_STATE_KEY."
    )]
    Terraform(ImportTerraform),
    /// Begin to hand observed objects over: from here on they wait for a state without them
    #[command(
        after_help = "Example:\n  isobar import hand-over estate web db\n  terraform state pull > now.tfstate && isobar import hand-over estate web --state now.tfstate --write hand-over"
    )]
    HandOver(HandOver),
    /// Take over what a fresh state does not have any more
    #[command(after_help = "Example:\n  terraform state pull | isobar import confirm estate -")]
    Confirm(Confirm),
    /// Give objects back: they are Terraform's again
    #[command(after_help = "Example:\n  isobar import release estate web")]
    Release(HandBack),
}

#[derive(Debug, Args)]
pub(crate) struct HandOver {
    /// Of which cluster
    #[arg(value_name = "CLUSTER", value_parser = |text: &str| ClusterName::new(text))]
    pub(crate) cluster: ClusterName,
    /// Which objects; left out: all that are observed
    #[arg(value_name = "OBJECT", value_parser = |text: &str| AdoptedName::new(text))]
    pub(crate) objects: Vec<AdoptedName>,
    /// Write what has to be run, in which order, and the way back to this new folder
    #[arg(long, value_name = "DIR", requires = "state")]
    pub(crate) write: Option<PathBuf>,
    /// The state that they are in, as it is now; `-` reads standard input
    #[arg(long, value_name = "PATH", requires = "write")]
    pub(crate) state: Option<PathBuf>,
    /// The folder of Terraform's root module, for the blocks to delete
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// Of which cluster
    #[arg(value_name = "CLUSTER", value_parser = |text: &str| ClusterName::new(text))]
    pub(crate) cluster: ClusterName,
    /// The state that they came from, as it is now; `-` reads standard input
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct HandBack {
    /// Of which cluster
    #[arg(value_name = "CLUSTER", value_parser = |text: &str| ClusterName::new(text))]
    pub(crate) cluster: ClusterName,
    /// Which objects
    #[arg(value_name = "OBJECT", required = true, value_parser = |text: &str| AdoptedName::new(text))]
    pub(crate) objects: Vec<AdoptedName>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportTerraform {
    /// A state, a folder with some, or `-` for standard input
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The cluster that takes them over; it need not be there yet
    #[arg(long, short, value_name = "CLUSTER", value_parser = |text: &str| ClusterName::new(text))]
    pub(crate) cluster: ClusterName,
    /// A spec whose sites say where to look, beside those that the cluster has
    #[arg(long, value_name = "FILE")]
    pub(crate) spec: Option<PathBuf>,
    /// What a question asks: a provider's configuration as the report writes it, its account and region
    #[arg(long, value_name = "CONFIG=ACCOUNT[,REGION]")]
    pub(crate) answer: Vec<String>,
    /// Write a spec of what was taken over to this new file
    #[arg(long, value_name = "FILE")]
    pub(crate) write_spec: Option<PathBuf>,
}
