//! What a site may ask for besides a machine: a disk for what it keeps, an identity, an address.

use isobar_engine_model::id::{ImageId, ResourceHandle};
use isobar_engine_provider::ProviderError;
use isobar_engine_provider::conformance::TestBed as _;
use isobar_tests_clouds::asked::Asked;
use isobar_tests_clouds::gcp::{ENGINE_IMAGE, IMAGE};
use serde_json::json;

use crate::bed::GcpBed;
use crate::facts::{delete_at, request_at};

const ACCOUNT: &str = "isobar-engine@shop-1.iam.gserviceaccount.com";

#[tokio::test]
async fn a_machine_has_the_disk_and_the_identity_that_its_site_asks_for() {
    let bed = GcpBed::plain().await;
    let site = bed.site_with(&[
        ("data_disk_gib", "20"),
        ("machine_identity", ACCOUNT),
        ("public_address", "true"),
    ]);
    let mut request = request_at(&bed, site, 1);
    request.spec.machine_mut().unwrap().image = ImageId::new(ENGINE_IMAGE);
    bed.provider().create(&request).await.unwrap();
    let asked = Asked {
        image: ENGINE_IMAGE.to_owned(),
        data_disk_gib: Some(20),
        identity: Some(ACCOUNT.to_owned()),
        public_address: true,
    };
    assert_eq!(bed.gcp.machines().asked(&request.name), Some(asked));
    assert_eq!(bed.gcp.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn a_machine_has_nothing_that_its_site_does_not_ask_for() {
    let bed = GcpBed::plain().await;
    let request = request_at(&bed, bed.site(), 1);
    bed.provider().create(&request).await.unwrap();
    let asked = Asked {
        image: IMAGE.to_owned(),
        ..Asked::default()
    };
    assert_eq!(bed.gcp.machines().asked(&request.name), Some(asked));
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_before_anything_is_sent() {
    let bed = GcpBed::plain().await;
    for (name, value, said) in [
        ("data_disk_gib", "16385", "from 10 to 16384"),
        ("machine_identity", "default", "NAME@DOMAIN"),
        ("machine_identity", "isobar engine@shop-1", "NAME@DOMAIN"),
    ] {
        let request = request_at(&bed, bed.site_with(&[(name, value)]), 1);
        let refused = bed.provider().create(&request).await.expect_err(value);
        assert_eq!(refused.kind(), "invalid_spec", "{refused}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    assert_eq!(bed.gcp.front.calls.all().len(), 0);
}

#[tokio::test]
async fn a_machine_is_where_its_cloud_says_that_it_is() {
    let bed = GcpBed::plain().await;
    let request = request_at(&bed, bed.site_with(&[("public_address", "true")]), 1);
    let made = bed.provider().create(&request).await.unwrap();
    bed.gcp
        .machines()
        .reached_at(&request.name, "127.9.9.9".parse().unwrap());
    let seen = bed.provider().get(&request.site, &made.handle).await.unwrap();
    assert_eq!(seen.endpoints[&30_000], "127.9.9.9:30000");
}

#[tokio::test]
async fn a_data_disk_that_outlives_its_machine_is_deleted_with_it_if_it_is_ours() {
    for (labels_are_ours, left) in [(true, false), (false, true)] {
        let bed = GcpBed::plain().await;
        let site = bed.site_with(&[("data_disk_gib", "20")]);
        let request = request_at(&bed, site.clone(), 1);
        let made = bed.provider().create(&request).await.unwrap();
        let asked = bed.gcp.asked(&request.name).unwrap();
        let wanted = &asked["disks"][1]["initializeParams"];
        let name = wanted["diskName"].as_str().unwrap();
        // Somebody has told the cloud to keep it.
        let labels = if labels_are_ours { &wanted["labels"] } else { &json!({}) };
        let kept = json!({
            "kind": "compute#disk",
            "id": "7",
            "name": name,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "status": "READY",
            "sizeGb": "20",
            "labels": labels,
            "zone": "https://www.googleapis.com/compute/v1/projects/shop-1/zones/europe-west1-b",
        });
        bed.gcp
            .put_resource(&format!("zones/europe-west1-b/disks/{name}"), kept);
        delete_at(&bed, &site, &made.handle).await;
        let disk = ResourceHandle::new(format!("europe-west1-b/disks/{name}"));
        let seen = bed.provider().get(&site, &disk).await;
        assert_eq!(seen.is_ok(), left, "{seen:?}");
        assert!(left || seen == Err(ProviderError::NotFound), "{seen:?}");
    }
}
