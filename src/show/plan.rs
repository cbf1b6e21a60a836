//! A plan for people: what it does, what it costs, what could go wrong, why it came out so.

use isobar_engine_control::api::PlanAnswer;
use isobar_engine_model::plan::{CostChange, Risk};
use isobar_engine_model::quantity::Timestamp;

use super::until;
use crate::output::{BAD, DIM, GOOD, HEAD, SOME};

/// At most so many reasons are shown; `explain` and `--output json` give all.
const REASONS_MAX_ITEMS: usize = 12;

/// The whole plan.
pub(crate) fn plan(answer: &PlanAnswer, now: Timestamp) -> String {
    let body = &answer.plan.body;
    let mut text = String::new();
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    if answer.converged {
        line(format!(
            "{GOOD}cluster {} is as wanted: there is nothing to do{GOOD:#}",
            body.cluster
        ));
        return text;
    }
    let expiry = until(now, body.expires);
    line(format!(
        "{HEAD}plan {}{HEAD:#} for cluster {} {DIM}(expires {expiry}){DIM:#}",
        answer.plan.id, body.cluster
    ));
    let width = answer.outline.len().to_string().len();
    for (number, step) in answer.outline.iter().enumerate() {
        line(format!("  {:>width$}  {step}", number + 1));
    }
    if answer.outline.is_empty() {
        line("  the stored spec changes, no machine and no replica does".to_owned());
    }
    line(format!("{HEAD}cost{HEAD:#}   {}", cost(&answer.cost)));
    for risk in &body.risks {
        line(format!("{SOME}risk{SOME:#}   {}", risk_in_words(risk)));
    }
    for unmet in &body.unmet {
        line(format!(
            "{BAD}unmet{BAD:#}  {}: {} missing: {}",
            unmet.about, unmet.missing, unmet.requirement
        ));
        if let Some(nearest) = &unmet.nearest {
            line(format!("       nearest: {nearest}"));
        }
    }
    for reason in body.reasons.iter().take(REASONS_MAX_ITEMS) {
        line(format!("{DIM}why    {}: {}{DIM:#}", reason.about, reason.because));
    }
    if let Some(more) = body
        .reasons
        .len()
        .checked_sub(REASONS_MAX_ITEMS)
        .filter(|more| *more > 0)
    {
        line(format!("{DIM}       and {more} more (--output json has all){DIM:#}"));
    }
    text
}

fn cost(cost: &CostChange) -> String {
    let change = format!("{} -> {}", cost.before, cost.after);
    if cost.ceiling == cost.after {
        change
    } else {
        format!("{change}, at most {}", cost.ceiling)
    }
}

fn risk_in_words(risk: &Risk) -> String {
    match risk {
        Risk::WorkloadEnds { workload } => format!("{workload} stops and does not come back"),
        Risk::BelowMinimum {
            workload,
            healthy,
            minimum,
        } => {
            format!("{workload} has {healthy} healthy replicas, below its minimum of {minimum}, already")
        }
        Risk::SingleSite { workload, site } => format!("every replica of {workload} is on site {site}"),
        Risk::AdoptedMissing { object, .. } => {
            format!("the adopted {object} is not in its cloud, and nothing is made in its place")
        }
        Risk::AdoptedDiffers { object, fields } => {
            format!("the adopted {object} is not as the spec says: {}", fields.join(", "))
        }
        Risk::ClusterEnds => "nothing of the cluster remains".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    fn answer() -> PlanAnswer {
        let cost = json!({"before": 0, "after": 30_000, "ceiling": 45_000});
        serde_json::from_value(json!({
            "plan": {"id": "plan-0123456789abcdef", "hash": "00", "body": {
                "cluster": "shop", "origin": "asked", "created": 0, "expires": 900_000,
                "base": {"generation": 0, "machines": {}, "replicas": {}}, "spec": null, "steps": [],
                "cost": cost,
                "risks": [{"risk": "single_site", "workload": "web", "site": "east"}],
                "reasons": [{"about": "general-1", "because": "the cheapest offering that serves"}],
                "unmet": [{"about": "pool big", "missing": 1, "requirement": "cpu 64", "nearest": "m.large with cpu 8"}],
            }},
            "converged": false,
            "outline": ["buy machine general-1", "start replica web-1 on general-1"],
            "cost": cost,
        }))
        .unwrap()
    }

    #[test]
    fn a_plan_shows_steps_cost_risks_and_what_is_unmet() {
        let text = plan(&answer(), Timestamp(0));
        expect![[r#"
            plan plan-0123456789abcdef for cluster shop (expires in 15m)
              1  buy machine general-1
              2  start replica web-1 on general-1
            cost   $0.0000/h -> $0.0300/h, at most $0.0450/h
            risk   every replica of web is on site east
            unmet  pool big: 1 missing: cpu 64
                   nearest: m.large with cpu 8
            why    general-1: the cheapest offering that serves
        "#]]
        .assert_eq(&anstream::adapter::strip_str(&text).to_string());
    }

    #[test]
    fn an_empty_plan_says_that_there_is_nothing_to_do() {
        let text = plan(
            &PlanAnswer {
                converged: true,
                ..answer()
            },
            Timestamp(0),
        );
        expect![[r#"
            cluster shop is as wanted: there is nothing to do
        "#]]
        .assert_eq(&anstream::adapter::strip_str(&text).to_string());
    }
}
