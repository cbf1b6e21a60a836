//! Why a call has no answer, in the one form that every caller gets: code, words, and everything that is wrong with the
//! arguments.

use isobar_engine_model::spec::nearest::nearest;
use isobar_engine_model::spec::problem::Problem;
use isobar_engine_model::spec::text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// [`ApiError::problems`] are at most so many; the message counts all.
pub const PROBLEMS_MAX_ITEMS: usize = text::ERRORS_MAX;
/// [`ApiError::allowed`] are at most so many.
pub const ALLOWED_MAX_ITEMS: usize = 100;

/// Why a call was refused or failed, and what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind.
    pub code: ErrorCode,
    /// What happened: lower case, no full stop.
    pub message: String,
    /// JSON pointer to the argument at fault; to the first of `problems`, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What would have been allowed there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Everything that is wrong with the arguments, where the arguments are. At most [`PROBLEMS_MAX_ITEMS`].
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub problems: Box<[Problem]>,
}

/// Kinds of [`ApiError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// An argument is wrong: change it.
    InvalidArgument,
    /// There is no such thing: list what there is.
    NotFound,
    /// What the plan was made from has moved, or it expired: plan again.
    StalePlan,
    /// Another operation of the cluster runs: wait for it or cancel it.
    Busy,
    /// It would break a limit, leave part of the spec unmet, or buy machines that would not find the engine: do what the hint says.
    Refused,
    /// The store comes from a backup: first say what becomes of what it does not know.
    Recovering,
    /// The caller may not do it.
    Forbidden,
    /// The cluster is changing hands between engines: try again in a few seconds.
    Moving,
    /// The store, a provider or a node does not answer: try again later.
    Unavailable,
    /// A bug: report it.
    Internal,
}

impl ApiError {
    /// An error of a kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            pointer: None,
            allowed: Vec::new(),
            hint: None,
            problems: Box::default(),
        }
    }

    /// That arguments are wrong, and everything that is wrong with them. Pointers start at the arguments' root.
    ///
    /// The first problem also fills `pointer`, `allowed` and `hint`, for callers that look at one thing.
    pub fn wrong_arguments(mut problems: Vec<Problem>) -> Self {
        let Some(first) = problems.first().cloned() else {
            return Self::new(ErrorCode::InvalidArgument, "the arguments cannot be used");
        };
        let mut message = match first.pointer.dotted() {
            path if path.is_empty() => first.message,
            path => format!("{path}: {}", first.message),
        };
        if problems.len() > 1 {
            message.push_str(&format!("; and {} more", problems.len() - 1));
        }
        problems.truncate(PROBLEMS_MAX_ITEMS);
        Self {
            pointer: Some(first.pointer.to_string()),
            hint: first.hint,
            problems: problems.into(),
            ..Self::new(ErrorCode::InvalidArgument, message).allowed(first.allowed)
        }
    }

    /// That there is no `what` of this name. Names what there is, and as advice the nearest of it; `otherwise` where
    /// nothing is near.
    pub fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone, otherwise: &str) -> Self {
        let hint = match nearest(name, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => otherwise.to_owned(),
        };
        Self::new(ErrorCode::NotFound, format!("there is no {what} `{name}`"))
            .allowed(known.map(str::to_owned))
            .hint(hint)
    }

    /// That there is no such cluster among those that there are.
    pub fn unknown_cluster<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Self {
        let otherwise = "`isobar status` lists them; `isobar apply FILE` makes one";
        Self::unknown("cluster", name, known, otherwise)
    }

    /// Whether it says that there is no such cluster.
    pub fn is_unknown_cluster(&self) -> bool {
        let of_cluster = |pointer: &String| pointer.ends_with("/cluster");
        self.code == ErrorCode::NotFound && self.pointer.as_ref().is_some_and(of_cluster)
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the argument at fault.
    #[must_use]
    pub fn pointer(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// With what would have been allowed, the first [`ALLOWED_MAX_ITEMS`] of it.
    #[must_use]
    pub fn allowed(mut self, allowed: impl IntoIterator<Item = String>) -> Self {
        self.allowed = allowed.into_iter().take(ALLOWED_MAX_ITEMS).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use isobar_engine_model::spec::problem::Pointer;

    use super::*;

    #[test]
    fn every_problem_is_told_up_to_the_bound_and_all_are_counted() {
        let problem = |n: usize| Problem::value(Pointer::root().to("a").to(n), "odd").instead_of("x", ["y", "z"]);
        let error = ApiError::wrong_arguments((0..PROBLEMS_MAX_ITEMS + 3).map(problem).collect());
        assert_eq!(error.problems.len(), PROBLEMS_MAX_ITEMS);
        assert_eq!(error.message, format!("a[0]: odd; and {} more", PROBLEMS_MAX_ITEMS + 2));
        assert_eq!((error.pointer.as_deref(), error.allowed.len()), (Some("/a/0"), 2));
        assert_eq!(ApiError::wrong_arguments(vec![problem(7)]).message, "a[7]: odd");
    }

    #[test]
    fn an_unknown_name_comes_with_the_nearest_one_and_a_bounded_list() {
        let known: Vec<String> = (0..1_000).map(|n| format!("web-{n}")).collect();
        let error = ApiError::unknown("replica", "wbe-999", known.iter().map(String::as_str), "list them");
        assert_eq!(error.code, ErrorCode::NotFound);
        assert_eq!(error.hint.as_deref(), Some("did you mean `web-999`?"));
        assert_eq!(error.allowed.len(), ALLOWED_MAX_ITEMS);
        let error = ApiError::unknown("replica", "db", ["web-1"].into_iter(), "list them");
        assert_eq!(error.hint.as_deref(), Some("list them"));
    }
}
