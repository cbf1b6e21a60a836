//! How the command ends: exit codes, and the one place where an error and its causes are printed.

use std::io;
use std::process::ExitCode;

use isobar_engine_control::api::{ApiError, ErrorCode};
use isobar_engine_model::spec::text::{SpecError, SpecErrors};
use isobar_engine_store::StoreError;
use isobar_mcp::client::ClientError;
use serde::Serialize;

use crate::output::Output;

/// How a command ended. The help of the command documents these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// The operation failed, or somebody else cancelled it.
    OperationFailed,
    /// Wrong usage, or a spec with errors.
    Usage,
    /// The engine refused.
    Refused,
    /// No engine answers, or its store, provider or node does not.
    Unreachable,
    /// A bug or an unexpected answer.
    Internal,
    /// `plan --exit-code`: there is something to do.
    ChangesPlanned,
    /// `import`: not every object is as its state says, or a question is open.
    Unaccounted,
    /// Interrupted.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::OperationFailed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Unreachable => 4,
            Exit::Internal => 5,
            Exit::ChangesPlanned => 10,
            Exit::Unaccounted => 11,
            Exit::Interrupted => 130,
        })
    }
}

/// An error of the command itself.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Complaint {
    exit: Exit,
    message: String,
    hint: Option<String>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Complaint {
    /// An error that ends the command with `exit`.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// With what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what caused it.
    #[must_use]
    pub(crate) fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// Prints an error, its causes and what to do, and says how to end.
pub(crate) fn report(output: &Output, error: &anyhow::Error) -> ExitCode {
    let report = Report::of(error);
    if report.reader_gone {
        return Exit::Done.into();
    }
    // When standard error is gone too, the exit code has to be enough.
    let _gone = if output.is_json() {
        output.json_error(&report)
    } else {
        output.error(&report.in_words())
    };
    report.exit.into()
}

/// Ends with clap's words, or with a document of them for programs.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let for_programs = arguments.any(|one| matches!(one.as_str(), "--output=json" | "-ojson" | "-o=json" | "json"));
    if !error.use_stderr() || !for_programs {
        error.exit();
    }
    let report = Report {
        exit: Exit::Usage,
        reader_gone: false,
        code: "usage",
        message: error.to_string().trim_start_matches("error: ").trim_end().to_owned(),
        causes: Vec::new(),
        pointer: None,
        allowed: Vec::new(),
        errors: Vec::new(),
        hint: None,
    };
    let _gone = Output::new(crate::cli::Format::Json).json_error(&report);
    report.exit.into()
}

/// An error as it is shown.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(skip)]
    exit: Exit,
    #[serde(skip)]
    reader_gone: bool,
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<SpecError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Report {
    fn of(error: &anyhow::Error) -> Self {
        let mut messages: Vec<String> = error.chain().map(ToString::to_string).collect();
        // A transparent error repeats its cause.
        messages.dedup();
        let mut report = Self {
            exit: Exit::Internal,
            reader_gone: false,
            code: "internal",
            message: messages.remove(0),
            causes: messages,
            pointer: None,
            allowed: Vec::new(),
            errors: Vec::new(),
            hint: None,
        };
        for cause in error.chain() {
            if let Some(client) = cause.downcast_ref::<ClientError>() {
                report.client(client);
            } else if let Some(complaint) = cause.downcast_ref::<Complaint>() {
                (report.exit, report.code) = (complaint.exit, complaint.exit.code());
                report.hint.clone_from(&complaint.hint);
            } else if let Some(spec) = cause.downcast_ref::<SpecErrors>() {
                (report.exit, report.code) = (Exit::Usage, "invalid_spec");
                report.errors.clone_from(&spec.errors);
            } else if let Some(store) = cause.downcast_ref::<StoreError>() {
                (report.exit, report.code) = unusable(store);
                report.hint = store.hint().map(str::to_owned);
            } else if let Some(error) = cause.downcast_ref::<io::Error>() {
                report.reader_gone |= error.kind() == io::ErrorKind::BrokenPipe && report.exit == Exit::Internal;
                continue;
            } else {
                continue;
            }
            break;
        }
        report
    }

    fn client(&mut self, error: &ClientError) {
        self.hint = error.hint();
        (self.exit, self.code) = match error {
            ClientError::Folder(_) | ClientError::Unreachable { .. } => (Exit::Unreachable, "unreachable"),
            ClientError::Stranger { .. } => (Exit::Unreachable, "stranger"),
            ClientError::Unauthorized { .. } => (Exit::Unreachable, "unauthorized"),
            ClientError::Protocol { .. } => (Exit::Internal, "protocol"),
            ClientError::Refused(error) if !error.problems.is_empty() => {
                // Told as the command tells what it finds itself; each has its own advice.
                let told = SpecErrors::of_value("arguments", &error.problems);
                (self.message, self.errors, self.hint) = (told.to_string(), told.errors, None);
                refusal(error)
            }
            ClientError::Refused(error) => {
                self.pointer.clone_from(&error.pointer);
                self.allowed.clone_from(&error.allowed);
                refusal(error)
            }
        };
    }

    fn in_words(&self) -> String {
        let mut text = self.message.clone();
        for cause in &self.causes {
            text.push_str("\n  caused by: ");
            text.push_str(cause);
        }
        if let Some(pointer) = &self.pointer {
            text.push_str("\n  at: ");
            text.push_str(pointer);
        }
        if !self.allowed.is_empty() {
            text.push_str("\n  allowed: ");
            text.push_str(&self.allowed.join(", "));
        }
        if let Some(hint) = &self.hint {
            text.push_str("\n  hint: ");
            text.push_str(hint);
        }
        text
    }
}

impl Exit {
    fn code(self) -> &'static str {
        match self {
            Self::Done | Self::ChangesPlanned | Self::Unaccounted => "done",
            Self::OperationFailed => "operation_failed",
            Self::Usage => "usage",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Internal => "internal",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Why the data folder's store cannot be used.
fn unusable(error: &StoreError) -> (Exit, &'static str) {
    match error {
        StoreError::InUse { .. } | StoreError::Fenced { .. } => (Exit::Refused, "in_use"),
        StoreError::Corrupt { .. } => (Exit::Refused, "damaged"),
        StoreError::Newer { .. } => (Exit::Refused, "newer"),
        StoreError::Full(_) => (Exit::Refused, "disk_full"),
        StoreError::Unsuitable { .. } => (Exit::Refused, "unsuitable"),
        StoreError::Unavailable(_) => (Exit::Refused, "unavailable"),
        StoreError::Stale { .. } | StoreError::OutcomeUnknown(_) => (Exit::Internal, "internal"),
    }
}

fn refusal(error: &ApiError) -> (Exit, &'static str) {
    match error.code {
        ErrorCode::InvalidArgument => (Exit::Usage, "invalid_argument"),
        ErrorCode::NotFound => (Exit::Refused, "not_found"),
        ErrorCode::StalePlan => (Exit::Refused, "stale_plan"),
        ErrorCode::Busy => (Exit::Refused, "busy"),
        ErrorCode::Refused => (Exit::Refused, "refused"),
        ErrorCode::Forbidden => (Exit::Refused, "forbidden"),
        ErrorCode::Unavailable => (Exit::Unreachable, "unavailable"),
        ErrorCode::Recovering => (Exit::Refused, "recovering"),
        ErrorCode::Moving => (Exit::Unreachable, "moving"),
        ErrorCode::Internal => (Exit::Internal, "internal"),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use isobar_engine_model::spec::problem::{Pointer, Problem};

    use super::*;

    fn check(error: impl Into<anyhow::Error>, expect: Expect) {
        let report = Report::of(&error.into());
        expect.assert_eq(&format!("{:?} {}\n{}", report.exit, report.code, report.in_words()));
    }

    #[test]
    fn an_error_is_one_line_its_causes_and_a_hint() {
        check(
            Complaint::new(Exit::Usage, "read shop.yaml")
                .hint("name another file")
                .because("no such file"),
            expect![[r#"
                Usage usage
                read shop.yaml
                  caused by: no such file
                  hint: name another file"#]],
        );
        check(
            ClientError::Refused(ApiError::new(ErrorCode::StalePlan, "the plan is stale").hint("plan again")),
            expect![[r#"
                Refused stale_plan
                the plan is stale
                  hint: plan again"#]],
        );
        let root = Pointer::root().to("intent").to("spec");
        let problems = vec![
            Problem::value(root.to("pools").to("a"), "min 2 is more than max 1"),
            Problem::name(root.to("wrkloads"), "unknown field").instead_of("wrkloads", ["workloads"]),
        ];
        check(
            ClientError::Refused(ApiError::wrong_arguments(problems)),
            expect![[r#"
            Usage invalid_argument
            arguments: intent.spec.pools.a: min 2 is more than max 1
            arguments: intent.spec.wrkloads: unknown field
              hint: did you mean `workloads`? allowed: workloads"#]],
        );
        check(
            StoreError::InUse {
                path: "data".into(),
                holder: None,
            },
            expect![[r#"
                Refused in_use
                data is in use by another engine
                  hint: stop that engine, or give another folder with --data"#]],
        );
        check(
            StoreError::Corrupt {
                path: "data/isobar.db".into(),
                detail: "the file is cut short".into(),
            },
            expect![[r#"
                Refused damaged
                data/isobar.db is damaged: the file is cut short
                  hint: stop every engine, keep a copy of it, and restore a backup"#]],
        );
        check(
            anyhow::anyhow!("odd").context("make a table"),
            expect![[r#"
            Internal internal
            make a table
              caused by: odd"#]],
        );
    }

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let error = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(Report::of(&error).reader_gone);
        let error = Complaint::new(Exit::Unreachable, "no engine").because(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(!Report::of(&error.into()).reader_gone);
    }
}
