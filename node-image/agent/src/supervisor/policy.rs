//! What follows the end of a try: pure.

use isobar_engine_model::quantity::Mebibytes;

use super::order::{RestartRule, RestartWhen};
use crate::runtime::{Exit, RuntimeError};

/// How one try to run a replica ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TryEnd {
    /// Its first process ended.
    Exited(Exit),
    /// It failed its health check and was stopped.
    Unhealthy(String),
    /// It was never started.
    NotStarted(RuntimeError),
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// It is done.
    Succeeded,
    /// It is not started again.
    Failed(String),
    /// It is started again after a pause.
    Again(String),
}

/// What follows the `tries`-th try.
pub(super) fn next(rule: RestartRule, tries: u32, end: &TryEnd, memory_mib: u32) -> Next {
    let detail = detail(end, memory_mib);
    let failed_try = match end {
        TryEnd::Exited(Exit::Code(0)) => false,
        TryEnd::Exited(_) | TryEnd::Unhealthy(_) => true,
        TryEnd::NotStarted(error) => match error {
            RuntimeError::NoSuchImage(_) | RuntimeError::BadImage(_) => return Next::Failed(detail),
            // Not the replica's doing.
            RuntimeError::RegistryAway(_)
            | RuntimeError::Full(_)
            | RuntimeError::NotFound
            | RuntimeError::Failed(_) => return Next::Again(detail),
            RuntimeError::CannotStart(_) => true,
        },
    };
    let may_try_again = rule.attempts_max.is_none_or(|max| tries < max);
    match rule.when {
        RestartWhen::OnFailure | RestartWhen::Never if !failed_try => Next::Succeeded,
        RestartWhen::Never => Next::Failed(detail),
        RestartWhen::Always | RestartWhen::OnFailure if may_try_again => Next::Again(detail),
        RestartWhen::Always | RestartWhen::OnFailure => Next::Failed(detail),
    }
}

/// Whether a try counts against the bound of tries: only when the replica was started or could not be.
pub(super) fn counts(end: &TryEnd) -> bool {
    match end {
        TryEnd::Exited(_) | TryEnd::Unhealthy(_) | TryEnd::NotStarted(RuntimeError::CannotStart(_)) => true,
        TryEnd::NotStarted(_) => false,
    }
}

/// The exit code that is reported, as a shell would give it.
pub(super) fn exit_code(end: &TryEnd) -> i32 {
    match end {
        TryEnd::Exited(Exit::Code(code)) => *code,
        TryEnd::Exited(Exit::Signal(signal)) => 128 + signal,
        TryEnd::Exited(Exit::OutOfMemory) => 137,
        TryEnd::Unhealthy(_) | TryEnd::NotStarted(_) => 0,
    }
}

fn detail(end: &TryEnd, memory_mib: u32) -> String {
    match end {
        TryEnd::Exited(Exit::Code(code)) => format!("exit code {code}"),
        TryEnd::Exited(Exit::Signal(signal)) => format!("killed by signal {signal}"),
        TryEnd::Exited(Exit::OutOfMemory) => format!("out of memory (limit {})", Mebibytes(memory_mib)),
        TryEnd::Unhealthy(why) => why.clone(),
        TryEnd::NotStarted(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(when: RestartWhen, attempts_max: Option<u32>, end: TryEnd, expected: Expect) {
        let rule = RestartRule { when, attempts_max };
        let by_try: Vec<_> = (1..=3)
            .map(|tries| format!("{:?}", next(rule, tries, &end, 64)))
            .collect();
        expected.assert_eq(&by_try.join(", "));
    }

    fn exit(code: i32) -> TryEnd {
        TryEnd::Exited(Exit::Code(code))
    }

    #[test]
    fn a_service_is_started_again_however_it_ended() {
        use RestartWhen::Always;
        check(
            Always,
            None,
            exit(0),
            expect![[r#"Again("exit code 0"), Again("exit code 0"), Again("exit code 0")"#]],
        );
        check(
            Always,
            None,
            TryEnd::Exited(Exit::OutOfMemory),
            expect![[
                r#"Again("out of memory (limit 64MiB)"), Again("out of memory (limit 64MiB)"), Again("out of memory (limit 64MiB)")"#
            ]],
        );
    }

    #[test]
    fn a_job_is_tried_so_often_and_no_more() {
        use RestartWhen::{Never, OnFailure};
        check(OnFailure, Some(2), exit(0), expect!["Succeeded, Succeeded, Succeeded"]);
        check(
            OnFailure,
            Some(2),
            exit(3),
            expect![[r#"Again("exit code 3"), Failed("exit code 3"), Failed("exit code 3")"#]],
        );
        check(Never, None, exit(0), expect!["Succeeded, Succeeded, Succeeded"]);
        check(
            Never,
            None,
            exit(3),
            expect![[r#"Failed("exit code 3"), Failed("exit code 3"), Failed("exit code 3")"#]],
        );
    }

    #[test]
    fn what_is_not_the_replicas_doing_is_tried_for_good_and_a_missing_image_never() {
        use RestartWhen::Never;
        let away = TryEnd::NotStarted(RuntimeError::RegistryAway("refused".into()));
        assert!(!counts(&away));
        check(
            Never,
            Some(1),
            away,
            expect![[
                r#"Again("registry does not answer: refused"), Again("registry does not answer: refused"), Again("registry does not answer: refused")"#
            ]],
        );
        check(
            RestartWhen::Always,
            None,
            TryEnd::NotStarted(RuntimeError::NoSuchImage("r/x:1".into())),
            expect![[
                r#"Failed("no such image: r/x:1"), Failed("no such image: r/x:1"), Failed("no such image: r/x:1")"#
            ]],
        );
    }
}
