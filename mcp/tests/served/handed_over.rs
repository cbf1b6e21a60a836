//! What is Isobar's does not come back by a state that the engine keeps, until it is given back.

use std::collections::BTreeMap;

use isobar_engine_control::api::{
    HandOverRequest, HandOverStep, ImportObject, ImportRequest, ImportSource, ImportStanding,
};
use isobar_engine_model::adopted::AdoptedPhase;
use isobar_engine_model::id::{AdoptedName, ClusterName, ProviderId};
use isobar_engine_model::object::{Fields, ObjectId, ObjectType};
use isobar_engine_provider::ResourceStatus;
use isobar_engine_provider::adoption::{ObjectRef, ObjectState};
use serde_json::json;

use crate::backend::Backend;
use crate::running::{Running, spec};

const LINEAGE: &str = "l";

fn state(serial: u64, kinds: &[&str]) -> String {
    let resource = |kind: &&str| {
        json!({"mode": "managed", "type": kind, "name": "web", "provider": "provider[\"registry.terraform.io/hashicorp/aws\"]",
            "instances": [{"schema_version": 1, "attributes": {"id": "i-1"}}]})
    };
    let resources: Vec<_> = kinds.iter().map(resource).collect();
    json!({"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": LINEAGE, "outputs": {},
        "resources": resources})
    .to_string()
}

fn request() -> ImportRequest {
    ImportRequest {
        cluster: ClusterName::new("estate").unwrap(),
        sites: spec().sites,
        source: ImportSource {
            name: "state".into(),
            lineage: LINEAGE.into(),
            serial: Some(1),
        },
        objects: vec![ImportObject {
            address: "aws_instance.web".into(),
            standing: ImportStanding::Current,
            provider: ProviderId::new("sim").unwrap(),
            kind: ObjectType("instance".into()),
            id: ObjectId("i-1".into()),
            zone: None,
            account: Some("sim".into()),
            region: Some("north".into()),
            fields: Fields::new(),
            unmanaged: [].into(),
        }],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_state_brings_back_what_is_ours_until_it_is_taken_back() {
    let backend = Backend(Running::start().await);
    let object = ObjectRef {
        kind: ObjectType("instance".into()),
        id: ObjectId("i-1".into()),
        zone: None,
    };
    let there = ObjectState {
        fields: BTreeMap::new(),
        status: ResourceStatus::Running,
        owner: None,
    };
    backend.0.cloud.put_object("north", object, there);
    assert_eq!(backend.answer("POST", "shop", state(1, &["aws_instance"])).await.0, 200);
    let client = backend.0.client().await;
    client.import_terraform(&request()).await.unwrap();
    let step = async |step: HandOverStep| {
        let request = HandOverRequest {
            cluster: ClusterName::new("estate").unwrap(),
            objects: vec![AdoptedName::new("web").unwrap()],
            step,
        };
        let mut answer = client.import_hand_over(&request).await.unwrap();
        answer.lines.remove(0)
    };
    let begun = step(HandOverStep::Begin).await;
    assert!(matches!(begun.phase, AdoptedPhase::HandingOver { .. }), "{begun:?}");
    assert_eq!(backend.answer("POST", "shop", state(2, &[])).await.0, 200);
    let confirm = || HandOverStep::Confirm {
        lineage: LINEAGE.into(),
        serial: 2,
    };
    for _ in 0..2 {
        let confirmed = step(confirm()).await;
        assert!(matches!(confirmed.phase, AdoptedPhase::Owned { .. }), "{confirmed:?}");
    }
    let (status, words) = backend.answer("POST", "shop", state(3, &["aws_instance"])).await;
    assert_eq!(status, 409);
    assert!(words.contains("aws_instance.web"), "{words}");
    assert_eq!(backend.answer("POST", "shop", state(3, &["aws_eip"])).await.0, 200);

    let back = step(HandOverStep::TakeBack).await;
    assert!(matches!(back.phase, AdoptedPhase::Observed { .. }), "{back:?}");
    assert_eq!(backend.answer("POST", "shop", state(4, &["aws_instance"])).await.0, 200);
}
