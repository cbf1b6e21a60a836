//! Why a tool call has no answer, as data for programs and as words for whoever reads only text.
//!
//! An error is a tool's result, never one of the protocol: clients show those to nobody. Called by the server and by the
//! relay.

use isobar_engine_control::api::ApiError;
use isobar_engine_model::spec::text::SpecErrors;
use rmcp::model::{CallToolResult, ContentBlock};

/// The error as a tool's result: data for programs, words for whoever reads only text.
pub(crate) fn into_result(error: &ApiError) -> CallToolResult {
    let mut result = CallToolResult::error(vec![ContentBlock::text(in_words(error))]);
    result.structured_content = serde_json::to_value(error).ok();
    result
}

fn in_words(error: &ApiError) -> String {
    if !error.problems.is_empty() {
        return SpecErrors::of_value("arguments", &error.problems).to_string();
    }
    let mut text = error.message.clone();
    let lines = [
        error.pointer.as_ref().map(|pointer| format!("at: {pointer}")),
        (!error.allowed.is_empty()).then(|| format!("allowed: {}", error.allowed.join(", "))),
        error.hint.as_ref().map(|hint| format!("hint: {hint}")),
    ];
    for line in lines.into_iter().flatten() {
        text.push('\n');
        text.push_str(&line);
    }
    text
}
