//! What the command line takes, with its help. Parses and nothing else.

mod bootstrap;
mod import;
mod serve;
mod store;
mod terraform;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use isobar_engine_control::api::{QueryWhat, TAIL_MAX_LINES};
use isobar_engine_model::id::{ClusterName, MachineId, OperationId, PlanId, ReplicaId, SiteName, WorkloadName};

pub(crate) use self::bootstrap::{Bootstrap, Born};
pub(crate) use self::import::{Confirm, HandBack, HandOver, Import, ImportTerraform};
pub(crate) use self::serve::Serve;
pub(crate) use self::store::{Backup, Recover, RecoverChoice, RecoverDecision, RecoverRelease, Restore, StoreArg};
pub(crate) use self::terraform::{Get as TerraformGet, Terraform, Unlock as TerraformUnlock};

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  the operation failed or was cancelled by someone else
    2  wrong usage, or a spec with errors
    3  refused: a stale plan, a busy cluster, a limit, a missing thing, a second engine
    4  no engine answers, or its provider does not: try again
    5  a bug or an unexpected answer
   10  `plan --exit-code`: there is something to do
   11  `import`: an object is missing, drifted, not reached, or a question is open
  130  interrupted

Getting started:
  isobar serve                      start the engine, in another terminal
  isobar apply examples/shop.yaml   show the plan, ask, carry it out
  isobar status --watch             look on";

/// Provisions clusters of machines across sites and moves workloads between them.
#[derive(Debug, Parser)]
#[command(name = "isobar", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Taken by every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The engine's data folder [default: isobar in the user's data folder]
    #[arg(long, global = true, env = "ISOBAR_DATA", hide_env_values = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Tables for people, or one JSON document for programs; errors too, on standard error
    #[arg(long, short, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    // No help of their own: that would spread every command's help over two screens.
    #[default]
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the engine and serve MCP
    #[command(
        after_help = "Examples:\n  isobar serve\n  isobar serve --listen 0.0.0.0:7420 --node-listen 0.0.0.0:7421 --advertise engine.example.org:7421"
    )]
    Serve(Serve),
    /// Put an engine on a machine that is bought for it
    #[command(
        after_help = "Examples:\n  isobar bootstrap shop.yaml --site aws-fra --image ami-0123 --machine-identity isobar-engine --data ~/.isobar-production\n  isobar bootstrap shop.yaml --site aws-fra --image ami-0123 --advertise engine.example.org:7421 --restore isobar.backup --key-file key --data ~/.isobar-production\n  isobar bootstrap --destroy --data ~/.isobar-production\n\nRun it again after an interruption: it goes on where it was."
    )]
    Bootstrap(Bootstrap),
    /// The engine on a machine that was bought for it
    #[command(hide = true)]
    Born(Born),
    /// Have the commands of this computer ask an engine on another one
    #[command(
        after_help = "Example:\n  ssh engine cat .local/share/isobar/authority.pem > authority.pem\n  ssh engine cat .local/share/isobar/token | isobar connect engine.example.org:7420 --authority authority.pem --data ~/.isobar-production"
    )]
    Connect(Connect),
    /// Serve MCP on standard input and output, for a client that starts its servers
    #[command(after_help = "An MCP client's configuration:\n  {\"command\": \"isobar\", \"args\": [\"mcp\"]}")]
    Mcp,
    /// Show what a spec would change and cost, without doing it
    #[command(after_help = "Examples:\n  isobar plan shop.yaml\n  isobar plan shop.yaml --exit-code --output json")]
    Plan(Plan),
    /// Show the plan for a spec, ask, and carry out that very plan
    #[command(
        after_help = "Examples:\n  isobar apply shop.yaml\n  isobar apply shop.yaml --yes --detach\n  isobar apply --plan plan-0123456789abcdef"
    )]
    Apply(Apply),
    /// Show clusters, their machines and replicas
    #[command(after_help = "Examples:\n  isobar status\n  isobar status shop --watch")]
    Status(Status),
    /// List things of a cluster
    #[command(after_help = "Examples:\n  isobar query machines\n  isobar query events --cluster shop --limit 20")]
    Query(Query),
    /// Run a workload on other sites, without falling below its healthy replicas
    #[command(
        after_help = "Examples:\n  isobar move web --from east --to west\n  isobar move web --from east --max-dearer-percent 10"
    )]
    Move(Move),
    /// Change how many replicas a service has
    #[command(after_help = "Example:\n  isobar scale web 6")]
    Scale(Scale),
    /// Replace a machine: its replicas move elsewhere first
    #[command(after_help = "Example:\n  isobar drain general-2")]
    Drain(Drain),
    /// Print the output of a replica, or a machine's serial console
    #[command(after_help = "Examples:\n  isobar logs web-1 --follow\n  isobar logs --console general-2 --tail 50")]
    Logs(Logs),
    /// Take over what others made
    #[command(subcommand)]
    Import(Import),
    /// Say why something is as it is
    #[command(after_help = "Examples:\n  isobar explain\n  isobar explain web-3")]
    Explain(Explain),
    /// List what clouds still have that the journal does not know, and what is done about it
    #[command(after_help = "Examples:\n  isobar leaks\n  isobar leaks --cluster shop --output json")]
    Leaks(Leaks),
    /// List who changed what, newest first; `verify` finds tampering
    #[command(after_help = "Examples:\n  isobar audit --limit 20\n  isobar audit verify --output json")]
    Audit(Audit),
    /// Write everything in the store to a file, also while engines run
    #[command(
        after_help = "Examples:\n  isobar backup isobar.backup\n  isobar backup - | ssh vault 'cat > isobar.backup'\n\nThe key is in no backup: keep the data folder's file `key` apart from it."
    )]
    Backup(Backup),
    /// Fill an empty store from a backup; `isobar recover` goes on from there
    #[command(after_help = "Example:\n  isobar restore isobar.backup --data /var/lib/isobar-new")]
    Restore(Restore),
    /// After a restore: list what the backup does not know, adopt or release it, go on
    #[command(
        after_help = "Examples:\n  isobar recover\n  isobar recover adopt general-4 general-5\n  isobar recover release --all --yes\n  isobar recover end"
    )]
    Recover(Recover),
    /// Stop everything of a cluster and release every machine
    #[command(after_help = "Example:\n  isobar destroy shop")]
    Destroy(Destroy),
    /// Look at an operation, stop it, or wait for its end
    #[command(subcommand)]
    Operation(Operation),
    /// Look at the states that Terraform keeps here, get a version, unlock
    #[command(
        subcommand,
        after_help = "Examples:\n  isobar terraform states\n  isobar terraform get shop/production --version 7 --to old.tfstate\n  isobar terraform unlock shop/production --lock 0d1f3e6a-..."
    )]
    Terraform(Terraform),
    /// Print the JSON Schema of specs
    #[command(after_help = "Example:\n  isobar schema > isobar.schema.json")]
    Schema,
    /// Check a spec; needs no engine
    #[command(after_help = "Example:\n  isobar check shop.yaml")]
    Check(Check),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  isobar completions bash > /etc/bash_completion.d/isobar")]
    Completions {
        /// For which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Connect {
    /// Where its MCP is served: the `--listen` of its `isobar serve`, by a host of its `--advertise`
    #[arg(value_name = "HOST:PORT", value_parser = serve::host_and_port)]
    pub(crate) engine: String,
    /// By what it is known: the file authority.pem of its data folder
    #[arg(long, value_name = "FILE")]
    pub(crate) authority: PathBuf,
    /// The file token of its data folder [default: standard input]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The spec, YAML or JSON; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// End with 10 when there is something to do, with 0 when there is not
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The spec, YAML or JSON; `-` reads standard input
    #[arg(value_name = "FILE", required_unless_present = "plan", conflicts_with = "plan")]
    pub(crate) file: Option<PathBuf>,
    /// A plan that was shown before
    #[arg(long, value_name = "PLAN_ID", value_parser = |text: &str| Ok::<_, String>(PlanId::new(text)))]
    pub(crate) plan: Option<PlanId>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) go: Go,
}

/// How a change is carried out.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Go {
    /// Carry out without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Return as soon as the operation has begun
    #[arg(long)]
    pub(crate) detach: bool,
}

/// What a plan may cost.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LimitArgs {
    /// The cluster may cost at most so many per cent more than now
    #[arg(long, value_name = "N")]
    pub(crate) max_dearer_percent: Option<u32>,
}

/// Which cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArg {
    /// Of which cluster; may be left out when there is one
    #[arg(long, short, value_name = "CLUSTER", value_parser = |text: &str| ClusterName::new(text))]
    pub(crate) cluster: Option<ClusterName>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only this cluster
    #[arg(value_name = "CLUSTER", value_parser = |text: &str| ClusterName::new(text))]
    pub(crate) cluster: Option<ClusterName>,
    /// Show it again every two seconds, until interrupted
    #[arg(long, short)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    /// What to list
    #[arg(value_enum)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) of: ClusterArg,
    /// Only what comes after this key
    #[arg(long, value_name = "KEY")]
    pub(crate) after: Option<String>,
    /// At most so many [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) limit: Option<u32>,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum What {
    Cluster,
    Machines,
    Replicas,
    Operations,
    Attempts,
    Offerings,
    Adopted,
    Events,
}

#[derive(Debug, Args)]
pub(crate) struct Move {
    /// Which workload
    #[arg(value_parser = |text: &str| WorkloadName::new(text))]
    pub(crate) workload: WorkloadName,
    /// Away from this site; may be given more than once
    #[arg(long, value_name = "SITE", value_parser = |text: &str| SiteName::new(text))]
    pub(crate) from: Vec<SiteName>,
    /// Only to this site; may be given more than once
    #[arg(long, value_name = "SITE", value_parser = |text: &str| SiteName::new(text), required_unless_present = "from")]
    pub(crate) to: Vec<SiteName>,
    #[command(flatten)]
    pub(crate) of: ClusterArg,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) go: Go,
}

#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// Which service
    #[arg(value_parser = |text: &str| WorkloadName::new(text))]
    pub(crate) workload: WorkloadName,
    /// To how many replicas
    pub(crate) replicas: u32,
    #[command(flatten)]
    pub(crate) of: ClusterArg,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) go: Go,
}

#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// Which machine
    #[arg(value_parser = |text: &str| Ok::<_, String>(MachineId::new(text)))]
    pub(crate) machine: MachineId,
    #[command(flatten)]
    pub(crate) of: ClusterArg,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) go: Go,
}

#[derive(Debug, Args)]
pub(crate) struct Destroy {
    /// Which cluster; may be left out when there is one
    #[arg(value_name = "CLUSTER", value_parser = |text: &str| ClusterName::new(text))]
    pub(crate) cluster: Option<ClusterName>,
    #[command(flatten)]
    pub(crate) go: Go,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Whose output
    #[arg(
        value_parser = |text: &str| Ok::<_, String>(ReplicaId::new(text)),
        required_unless_present = "console",
        conflicts_with = "console"
    )]
    pub(crate) replica: Option<ReplicaId>,
    /// The serial console of this machine instead
    #[arg(long, value_name = "MACHINE", value_parser = |text: &str| Ok::<_, String>(MachineId::new(text)))]
    pub(crate) console: Option<MachineId>,
    #[command(flatten)]
    pub(crate) of: ClusterArg,
    /// Go on with what comes, until interrupted
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Begin with the last so many lines
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=i64::from(TAIL_MAX_LINES)))]
    pub(crate) tail: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A machine, replica, workload, pool, plan or operation; left out: the cluster as a whole
    pub(crate) about: Option<String>,
    #[command(flatten)]
    pub(crate) of: ClusterArg,
}

#[derive(Debug, Args)]
pub(crate) struct Leaks {
    /// Only what comes after this key, from an earlier answer
    #[arg(long, value_name = "KEY")]
    pub(crate) after: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    #[command(flatten)]
    pub(crate) of: ClusterArg,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) check: Option<AuditCheck>,
    /// Only what is older, from an earlier answer
    #[arg(long, value_name = "PLACE")]
    pub(crate) after: Option<String>,
    /// At most so many [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) limit: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCheck {
    /// Compare every entry with its MAC; ends with 3 if an entry was changed, removed, added or moved
    Verify,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// How far it is
    Get {
        /// Which operation
        #[arg(value_parser = |text: &str| Ok::<_, String>(OperationId::new(text)))]
        operation: OperationId,
    },
    /// Stop it after the steps that are under way; its cluster is then held as it is
    Cancel {
        /// Which operation
        #[arg(value_parser = |text: &str| Ok::<_, String>(OperationId::new(text)))]
        operation: OperationId,
    },
    /// Follow it to its end
    Wait {
        /// Which operation
        #[arg(value_parser = |text: &str| Ok::<_, String>(OperationId::new(text)))]
        operation: OperationId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The spec, YAML or JSON; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

impl From<What> for QueryWhat {
    fn from(what: What) -> Self {
        match what {
            What::Cluster => Self::Cluster,
            What::Machines => Self::Machines,
            What::Replicas => Self::Replicas,
            What::Operations => Self::Operations,
            What::Attempts => Self::Attempts,
            What::Offerings => Self::Offerings,
            What::Adopted => Self::Adopted,
            What::Events => Self::Events,
        }
    }
}
