//! A figure: what was measured of ours and of a peer in the same run, and whether a target is met. Measures nothing.

use serde::Serialize;

/// What a figure is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Target {
    /// Ours is at most this, in the figure's unit.
    AtMost(f64),
    /// Ours is at most this many times the peer.
    TimesPeer(f64),
}

/// A peer's value, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Peer {
    /// It was measured beside ours.
    Measured(f64),
    /// It was not, and why.
    Absent(String),
}

/// One number of ours beside a peer's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// What it is called.
    pub(crate) name: String,
    /// What it is counted in.
    pub(crate) unit: &'static str,
    /// Ours: a median.
    pub(crate) ours: f64,
    /// Who stands beside us; empty: nobody does.
    pub(crate) peer_name: String,
    /// Theirs: a median.
    pub(crate) peer: Peer,
    /// What ours is held to.
    pub(crate) target: Option<Target>,
}

/// A figure as other programs read it.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    figure: &'a str,
    ours: f64,
    peer: Option<f64>,
    peer_name: Option<&'a str>,
    unit: &'a str,
    ratio: Option<f64>,
    target: Option<f64>,
    met: Option<bool>,
}

impl Figure {
    /// Ours as a part of the peer's.
    pub(crate) fn ratio(&self) -> Option<f64> {
        match self.peer {
            Peer::Measured(peer) if peer > 0.0 => Some(self.ours / peer),
            Peer::Measured(_) | Peer::Absent(_) => None,
        }
    }

    /// Whether the target is met; absent: there is none, or nothing to compare with.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.target? {
            Target::AtMost(bound) => Some(self.ours <= bound),
            Target::TimesPeer(bound) => self.ratio().map(|ratio| ratio <= bound),
        }
    }

    /// For other programs.
    pub(crate) fn line(&self) -> Line<'_> {
        Line {
            figure: &self.name,
            ours: rounded(self.ours),
            peer: match self.peer {
                Peer::Measured(peer) => Some(rounded(peer)),
                Peer::Absent(_) => None,
            },
            peer_name: Some(self.peer_name.as_str()).filter(|name| !name.is_empty()),
            unit: self.unit,
            ratio: self.ratio().map(rounded),
            target: self.target.map(|target| match target {
                Target::AtMost(bound) | Target::TimesPeer(bound) => bound,
            }),
            met: self.met(),
        }
    }

    /// For people.
    pub(crate) fn sentence(&self) -> String {
        let unit = self.unit;
        let mut text = format!("{}: {} {unit}", self.name, rounded(self.ours));
        match &self.peer {
            Peer::Measured(peer) => {
                text.push_str(&format!(", {} {} {unit}", self.peer_name, rounded(*peer)));
                if let Some(ratio) = self.ratio() {
                    text.push_str(&format!(", ratio {}", rounded(ratio)));
                }
            }
            Peer::Absent(why) if self.peer_name.is_empty() => text.push_str(&format!(" ({why})")),
            Peer::Absent(why) => text.push_str(&format!(" ({} is absent: {why})", self.peer_name)),
        }
        let verdict = match self.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not comparable",
        };
        match self.target {
            Some(Target::AtMost(bound)) => text.push_str(&format!("; target at most {bound} {unit}: {verdict}")),
            Some(Target::TimesPeer(bound)) => {
                text.push_str(&format!("; target at most {bound} times {}: {verdict}", self.peer_name));
            }
            None => {}
        }
        text
    }
}

/// The middle of some samples, of an even number the mean of the two in the middle. None of none.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[middle - 1] + upper) / 2.0)
}

/// To five significant digits: no measurement here is worth more.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(peer: Peer, target: Option<Target>) -> Figure {
        Figure {
            name: "start".into(),
            unit: "ms",
            ours: 3.0,
            peer_name: "crun".into(),
            peer,
            target,
        }
    }

    #[test]
    fn a_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_target_of_the_peer_is_not_comparable_without_one() {
        let held = Some(Target::TimesPeer(1.0));
        assert_eq!(figure(Peer::Measured(4.0), held).met(), Some(true));
        assert_eq!(figure(Peer::Measured(2.0), held).met(), Some(false));
        assert_eq!(figure(Peer::Absent("not installed".into()), held).met(), None);
    }

    #[test]
    fn a_target_of_its_own_needs_no_peer() {
        let absent = || Peer::Absent("not installed".into());
        assert_eq!(figure(absent(), Some(Target::AtMost(3.0))).met(), Some(true));
        assert_eq!(figure(absent(), Some(Target::AtMost(2.9))).met(), Some(false));
        assert_eq!(figure(absent(), None).met(), None);
    }

    #[test]
    fn an_absent_peer_is_null_never_a_number() {
        let absent = figure(Peer::Absent("not installed".into()), Some(Target::TimesPeer(1.0)));
        let json = serde_json::to_string(&absent.line()).unwrap();
        let expected = r#"{"figure":"start","ours":3.0,"peer":null,"peer_name":"crun","unit":"ms","ratio":null,"target":1.0,"met":null}"#;
        assert_eq!(json, expected);
    }
}
