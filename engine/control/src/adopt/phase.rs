//! Handing objects over, and taking them back. Writes records and nothing else: Terraform forgets by its user's hand, and
//! only a fresh state says that it has.

use isobar_engine_model::adopted::{Adopted, AdoptedPhase, Sight};
use isobar_engine_model::quantity::Timestamp;

use super::of_cluster;
use crate::api::{
    ApiError, AuditWhat, AuditWho, ErrorCode, HAND_OVER_MAX_OBJECTS, HandOverAnswer, HandOverLine, HandOverRequest,
    HandOverStep,
};
use crate::audit;
use crate::engine::Engine;
use crate::record::AdoptedRecord;

impl Engine {
    /// Takes a step of a hand-over with each of the objects. Again is no error.
    pub async fn import_hand_over(&self, request: HandOverRequest) -> Result<HandOverAnswer, ApiError> {
        if request.objects.len() > HAND_OVER_MAX_OBJECTS {
            let message = format!("{} objects are too many for a call", request.objects.len());
            return Err(ApiError::new(ErrorCode::InvalidArgument, message)
                .pointer("/objects")
                .hint(format!("name at most {HAND_OVER_MAX_OBJECTS} at a time")));
        }
        self.known(&self.ledger.read(), &request.cluster, "/cluster")?;
        let now = self.clock.now();
        self.ledger
            .change(move |draft| {
                let here = of_cluster(draft.state(), &request.cluster);
                let find = |name: &_| {
                    let found = here.iter().find(|record| record.object.name == *name);
                    found.map(|record| AdoptedRecord::clone(record)).ok_or_else(|| {
                        let names = here.iter().map(|record| record.object.name.as_str());
                        ApiError::unknown(
                            "adopted object",
                            name.as_str(),
                            names,
                            "`isobar query adopted` lists them",
                        )
                        .pointer("/objects")
                    })
                };
                let records: Vec<AdoptedRecord> = request.objects.iter().map(find).collect::<Result<_, _>>()?;
                let mut lines = Vec::with_capacity(records.len());
                let mut changed = Vec::new();
                for mut record in records {
                    let refused = match next(&record.object, &request.step, now) {
                        Ok(phase) => {
                            if phase != record.object.phase {
                                record.object.phase = phase;
                                record.object.version.0 += 1;
                                changed.push(record.object.name.clone());
                                draft.put(record.clone());
                            }
                            None
                        }
                        Err(why) => Some(why.to_owned()),
                    };
                    lines.push(HandOverLine {
                        name: record.object.name,
                        address: record.object.from.address,
                        lineage: record.object.from.lineage,
                        phase: record.object.phase,
                        refused,
                    });
                }
                if !changed.is_empty() {
                    let what = AuditWhat::HandedOver {
                        objects: changed,
                        step: request.step,
                    };
                    audit::note_of_cluster(draft, now, &request.cluster, (AuditWho::Client, what));
                }
                Ok::<_, ApiError>(HandOverAnswer { lines })
            })
            .await?
    }
}

/// Whose an object is after a step, or why the step cannot be taken.
fn next(object: &Adopted, step: &HandOverStep, now: Timestamp) -> Result<AdoptedPhase, &'static str> {
    match (step, object.phase) {
        (HandOverStep::Begin, AdoptedPhase::Observed { .. }) => begin(object, now),
        (HandOverStep::Begin, same @ AdoptedPhase::HandingOver { .. }) => Ok(same),
        (HandOverStep::Begin, AdoptedPhase::Owned { .. }) => Err("it is isobar's already"),
        (HandOverStep::Confirm { .. }, AdoptedPhase::Observed { .. }) => {
            Err("it is not being handed over: `isobar import hand-over` first")
        }
        (HandOverStep::Confirm { lineage, serial }, AdoptedPhase::HandingOver { serial: then, .. }) => {
            if *lineage != object.from.lineage {
                return Err("that state has another lineage: give the one that it came from");
            }
            if then.is_none_or(|then| *serial <= then) {
                return Err("that state is no newer than the hand-over: give what `terraform state pull` prints now");
            }
            Ok(AdoptedPhase::Owned { since: now })
        }
        (HandOverStep::Confirm { .. }, same @ AdoptedPhase::Owned { .. })
        | (HandOverStep::TakeBack, same @ AdoptedPhase::Observed { .. }) => Ok(same),
        (HandOverStep::TakeBack, AdoptedPhase::HandingOver { .. } | AdoptedPhase::Owned { .. }) => {
            Ok(AdoptedPhase::Observed { since: now })
        }
    }
}

fn begin(object: &Adopted, now: Timestamp) -> Result<AdoptedPhase, &'static str> {
    if matches!(object.seen, Sight::Missing { .. }) {
        return Err("its cloud does not have it: remove it from the spec");
    }
    if object.from.lineage.is_empty() || object.serial.is_none() {
        return Err(
            "its state has no lineage or serial, so that nothing could confirm it: import `terraform state pull`",
        );
    }
    Ok(AdoptedPhase::HandingOver {
        since: now,
        serial: object.serial,
    })
}

#[cfg(test)]
mod tests {
    use isobar_engine_model::adopted::AdoptedFrom;
    use isobar_engine_model::adopted::AdoptedStatus;
    use isobar_engine_model::id::{AdoptedName, SiteName, Version};
    use isobar_engine_model::object::{Fields, ObjectId, ObjectType};

    use super::*;

    const NOW: Timestamp = Timestamp(9);

    fn object(phase: AdoptedPhase) -> Adopted {
        Adopted {
            name: AdoptedName::new("web").expect("a name"),
            version: Version(1),
            site: SiteName::new("north").expect("a name"),
            account: "1".to_owned(),
            kind: ObjectType("instance".to_owned()),
            id: ObjectId("i-1".to_owned()),
            zone: None,
            from: AdoptedFrom {
                lineage: "l".to_owned(),
                address: "aws_instance.web".to_owned(),
            },
            serial: Some(4),
            phase,
            named: true,
            seen: Sight::There {
                fields: Fields::new(),
                status: AdoptedStatus::Running,
            },
            looked: NOW,
        }
    }

    fn confirm(lineage: &str, serial: u64) -> HandOverStep {
        HandOverStep::Confirm {
            lineage: lineage.to_owned(),
            serial,
        }
    }

    #[test]
    fn only_a_newer_state_of_the_same_lineage_makes_an_object_ours() {
        let then = Timestamp(1);
        let observed = object(AdoptedPhase::Observed { since: then });
        let handing_over = AdoptedPhase::HandingOver {
            since: NOW,
            serial: Some(4),
        };
        assert_eq!(next(&observed, &HandOverStep::Begin, NOW), Ok(handing_over));
        assert!(next(&observed, &confirm("l", 5), NOW).is_err(), "nobody has begun");
        let waiting = object(handing_over);
        assert_eq!(next(&waiting, &HandOverStep::Begin, NOW), Ok(handing_over));
        assert!(
            next(&waiting, &confirm("l", 4), NOW).is_err(),
            "the same state as before"
        );
        assert!(next(&waiting, &confirm("other", 5), NOW).is_err());
        let owned = AdoptedPhase::Owned { since: NOW };
        assert_eq!(next(&waiting, &confirm("l", 5), NOW), Ok(owned));
        assert_eq!(next(&object(owned), &confirm("l", 5), NOW), Ok(owned), "again");
        assert!(next(&object(owned), &HandOverStep::Begin, NOW).is_err());
    }

    #[test]
    fn there_is_a_way_back_from_everywhere() {
        let back = AdoptedPhase::Observed { since: NOW };
        for phase in [
            AdoptedPhase::HandingOver {
                since: NOW,
                serial: None,
            },
            AdoptedPhase::Owned { since: NOW },
            back,
        ] {
            assert_eq!(next(&object(phase), &HandOverStep::TakeBack, NOW), Ok(back));
        }
    }

    #[test]
    fn what_nothing_could_confirm_is_not_handed_over() {
        let mut legacy = object(AdoptedPhase::Observed { since: NOW });
        legacy.from.lineage.clear();
        assert!(next(&legacy, &HandOverStep::Begin, NOW).is_err());
        let mut missing = object(AdoptedPhase::Observed { since: NOW });
        missing.seen = Sight::Missing { since: NOW };
        assert!(next(&missing, &HandOverStep::Begin, NOW).is_err());
    }
}
