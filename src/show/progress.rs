//! What changed between two looks at an operation, and how it stands at its end, for people.

use isobar_engine_model::operation::{Operation, OperationState, StepProgress, StepState};

use crate::output::{BAD, DIM, GOOD, SOME};

/// A line for each step whose state differs from `before`, which is empty at the first look.
pub(crate) fn changes(before: &[StepProgress], after: &[StepProgress]) -> Vec<String> {
    let total = after.len();
    let width = total.to_string().len();
    after
        .iter()
        .enumerate()
        .filter_map(|(index, step)| {
            let words = change(before.get(index).map(|step| &step.state), step)?;
            Some(format!("{DIM}[{:>width$}/{total}]{DIM:#} {words}", index + 1))
        })
        .collect()
}

/// The lines of [`changes`] for steps that ended since `before`.
pub(crate) fn ended(before: &[StepProgress], after: &[StepProgress]) -> Vec<String> {
    let ended: Vec<StepProgress> = after
        .iter()
        .enumerate()
        .map(|(index, step)| match &step.state {
            StepState::Done { .. } | StepState::Failed { .. } => step.clone(),
            // As it was, so that nothing is said of it.
            StepState::Waiting | StepState::Running { .. } => before.get(index).unwrap_or(step).clone(),
        })
        .collect();
    changes(before, &ended)
}

fn change(before: Option<&StepState>, step: &StepProgress) -> Option<String> {
    let title = &step.title;
    match (&step.state, before) {
        (StepState::Waiting, _) => None,
        (StepState::Running { attempt, detail, .. }, was) => {
            if let Some(StepState::Running {
                attempt: old,
                detail: said,
                ..
            }) = was
                && (attempt, detail) == (old, said)
            {
                return None;
            }
            let again = if attempt.0 > 1 {
                format!(" (attempt {})", attempt.0)
            } else {
                String::new()
            };
            let doing = if detail.is_empty() { "begun" } else { detail };
            Some(format!("{title}: {SOME}{doing}{SOME:#}{again}"))
        }
        (StepState::Done { .. }, Some(StepState::Done { .. })) => None,
        (StepState::Done { .. }, _) => Some(format!("{title}: {GOOD}done{GOOD:#}")),
        (StepState::Failed { .. }, Some(StepState::Failed { .. })) => None,
        (StepState::Failed { reason, .. }, _) => Some(format!("{title}: {BAD}failed{BAD:#}: {reason}")),
    }
}

/// How many steps are done.
pub(crate) fn done(operation: &Operation) -> usize {
    operation
        .steps
        .iter()
        .filter(|step| matches!(step.state, StepState::Done { .. }))
        .count()
}

/// The steps under way, a line each.
pub(crate) fn running(operation: &Operation) -> Vec<(u32, String)> {
    operation
        .steps
        .iter()
        .filter_map(|step| match &step.state {
            StepState::Running { detail, .. } if detail.is_empty() => Some((step.id.0, step.title.clone())),
            StepState::Running { detail, .. } => Some((step.id.0, format!("{}: {detail}", step.title))),
            StepState::Waiting | StepState::Done { .. } | StepState::Failed { .. } => None,
        })
        .collect()
}

/// How an operation stands, and where it ended early, what is done and what is not.
pub(crate) fn standing(operation: &Operation) -> String {
    let counts = format!("{} of {} steps done", done(operation), operation.steps.len());
    let head = match &operation.state {
        OperationState::Running => format!("{SOME}running{SOME:#}: {counts}"),
        OperationState::Cancelling { .. } => format!("{SOME}being cancelled{SOME:#}: {counts}"),
        OperationState::Succeeded { .. } => {
            return format!("operation {}: {GOOD}succeeded{GOOD:#}: {counts}\n", operation.id);
        }
        OperationState::Failed { reason, .. } => format!("{BAD}failed{BAD:#}: {reason}; {counts}"),
        OperationState::Cancelled { .. } => {
            format!("{SOME}cancelled{SOME:#}: {counts}; the cluster is held as it is")
        }
    };
    let mut text = format!("operation {}: {head}\n", operation.id);
    for step in &operation.steps {
        let (mark, style) = match &step.state {
            StepState::Done { .. } => ("done     ", GOOD),
            StepState::Running { .. } => ("under way", SOME),
            StepState::Waiting => ("not begun", DIM),
            StepState::Failed { .. } => ("failed   ", BAD),
        };
        text += &format!("  {style}{mark}{style:#}  {}\n", step.title);
    }
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn steps(states: [serde_json::Value; 3]) -> Vec<StepProgress> {
        let titles = ["buy machine general-1", "start replica web-1", "release machine old-1"];
        std::iter::zip(titles, states)
            .enumerate()
            .map(|(index, (title, state))| {
                serde_json::from_value(json!({"id": index + 1, "title": title, "state": state})).unwrap()
            })
            .collect()
    }

    fn plain(lines: &[String]) -> String {
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn only_what_changed_is_said() {
        let waiting = || json!({"state": "waiting"});
        let running =
            |detail: &str, attempt: u32| json!({"state": "running", "since": 0, "attempt": attempt, "detail": detail});
        let done = || json!({"state": "done", "at": 0});
        let failed = || json!({"state": "failed", "at": 0, "reason": "no capacity"});
        let first = steps([running("creating", 1), waiting(), waiting()]);
        let second = steps([running("booting", 2), running("", 1), waiting()]);
        let third = steps([done(), failed(), waiting()]);
        expect!["[1/3] buy machine general-1: creating"].assert_eq(&plain(&changes(&[], &first)));
        expect![[r#"
            [1/3] buy machine general-1: booting (attempt 2)
            [2/3] start replica web-1: begun"#]]
        .assert_eq(&plain(&changes(&first, &second)));
        expect![[r#"
            [1/3] buy machine general-1: done
            [2/3] start replica web-1: failed: no capacity"#]]
        .assert_eq(&plain(&changes(&second, &third)));
        assert!(changes(&third, &third).is_empty());
    }

    #[test]
    fn a_cancelled_operation_says_what_is_done_and_what_is_not() {
        let operation: Operation = serde_json::from_value(json!({
            "id": "op-1", "plan": "plan-1", "cluster": "shop", "started": 0,
            "state": {"state": "cancelled", "at": 5},
            "steps": steps([json!({"state": "done", "at": 0}), json!({"state": "waiting"}), json!({"state": "waiting"})]),
        }))
        .unwrap();
        expect![[r#"
            operation op-1: cancelled: 1 of 3 steps done; the cluster is held as it is
              done       buy machine general-1
              not begun  start replica web-1
              not begun  release machine old-1
        "#]]
        .assert_eq(&plain(&[standing(&operation)]));
    }
}
