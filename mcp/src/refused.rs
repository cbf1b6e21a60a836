//! Why a tool call has no answer, as data for programs and as words for whoever reads only text.
//!
//! An error is a tool's result, never one of the protocol: clients show those to nobody. Made by the table of tools and
//! by the relay.

use isobar_engine_control::api::{ApiError, ErrorCode};
use rmcp::model::{CallToolResult, ContentBlock};
use serde::{Deserialize, Serialize};

/// One thing that is wrong with the arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// JSON pointer into the arguments.
    pub(crate) pointer: String,
    /// What is wrong there.
    pub(crate) message: String,
    /// What would have been allowed there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) allowed: Vec<String>,
    /// What was probably meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nearest: Option<String>,
}

/// Why a tool call has no answer: the engine's error, and each problem where the arguments are at fault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Refused {
    /// What the engine says, or what the problems come to.
    #[serde(flatten)]
    pub(crate) error: ApiError,
    /// What is wrong with the arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<Problem>,
}

impl Refused {
    /// As a tool's result: data for programs, words for whoever reads only text.
    pub(crate) fn into_result(self) -> CallToolResult {
        let mut text = self.error.message.clone();
        let lines = [
            self.error.pointer.as_ref().map(|pointer| format!("at: {pointer}")),
            (!self.error.allowed.is_empty()).then(|| format!("allowed: {}", self.error.allowed.join(", "))),
            self.error.hint.as_ref().map(|hint| format!("hint: {hint}")),
        ];
        for line in lines.into_iter().flatten() {
            text.push('\n');
            text.push_str(&line);
        }
        let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
        result.structured_content = serde_json::to_value(&self).ok();
        result
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            problems: Vec::new(),
        }
    }
}

impl From<Vec<Problem>> for Refused {
    fn from(problems: Vec<Problem>) -> Self {
        let message = problems
            .iter()
            .map(|problem| match problem.pointer.as_str() {
                "" => problem.message.clone(),
                pointer => format!("{pointer}: {}", problem.message),
            })
            .collect::<Vec<_>>()
            .join("; ");
        let mut error = ApiError::new(ErrorCode::InvalidArgument, message);
        if let Some(first) = problems.first() {
            error.pointer = Some(first.pointer.clone());
            error.allowed.clone_from(&first.allowed);
            error.hint = first
                .nearest
                .as_ref()
                .map(|nearest| format!("did you mean `{nearest}`?"));
        }
        Self { error, problems }
    }
}
