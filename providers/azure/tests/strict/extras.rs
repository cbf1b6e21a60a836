//! What a site may ask for besides a machine: a disk for what it keeps, an identity, an address.

use isobar_engine_model::id::{ImageId, ResourceHandle};
use isobar_engine_provider::conformance::TestBed as _;
use isobar_engine_provider::{CreateResource, ProviderError};
use isobar_tests_clouds::asked::Asked;
use isobar_tests_clouds::azure::{ENGINE_IMAGE, GROUP, IMAGE, SUBSCRIPTION};
use serde_json::json;

use crate::bed::AzureBed;
use crate::networks::delete_to_the_end;

const IDENTITY: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/isobar/providers/Microsoft.ManagedIdentity/userAssignedIdentities/engine";

fn request(bed: &AzureBed, settings: &[(&str, &str)]) -> CreateResource {
    let mut request = bed.request(1);
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    request.site.settings.extend(settings);
    request
}

#[tokio::test(start_paused = true)]
async fn a_machine_has_the_disk_and_the_identity_that_its_site_asks_for() {
    let bed = AzureBed::plain().await;
    let mut request = request(
        &bed,
        &[
            ("image", ENGINE_IMAGE),
            ("data_disk_gib", "20"),
            ("machine_identity", IDENTITY),
            ("public_address", "true"),
        ],
    );
    request.spec.machine_mut().unwrap().image = ImageId::new(ENGINE_IMAGE);
    bed.provider().create(&request).await.unwrap();
    let asked = Asked {
        image: ENGINE_IMAGE.to_owned(),
        data_disk_gib: Some(20),
        identity: Some(IDENTITY.to_owned()),
        public_address: true,
    };
    assert_eq!(bed.azure.machines().asked(&request.name), Some(asked));
    assert_eq!(bed.azure.violations(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_machine_has_nothing_that_its_site_does_not_ask_for() {
    let bed = AzureBed::plain().await;
    let request = request(&bed, &[]);
    bed.provider().create(&request).await.unwrap();
    let asked = Asked {
        image: IMAGE.to_owned(),
        ..Asked::default()
    };
    assert_eq!(bed.azure.machines().asked(&request.name), Some(asked));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_for_is_refused_before_anything_is_sent() {
    let bed = AzureBed::plain().await;
    for (name, value, said) in [
        ("data_disk_gib", "9", "from 10 to 16384"),
        (
            "machine_identity",
            "engine",
            "resource id of a user-assigned managed identity",
        ),
        (
            "machine_identity",
            "/subscriptions/1/resourceGroups/isobar/providers/Microsoft.ManagedIdentity/userAssignedIdentities/",
            "resource id of a user-assigned managed identity",
        ),
    ] {
        let refused = bed.provider().create(&request(&bed, &[(name, value)])).await;
        let refused = refused.expect_err(value);
        assert_eq!(refused.kind(), "invalid_spec", "{refused}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    assert_eq!(bed.azure.front.calls.all().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_where_its_cloud_says_that_it_is() {
    let bed = AzureBed::plain().await;
    let request = request(&bed, &[("public_address", "true")]);
    let made = bed.provider().create(&request).await.unwrap();
    bed.azure
        .machines()
        .reached_at(&request.name, "127.9.9.9".parse().unwrap());
    let seen = bed.provider().get(&request.site, &made.handle).await.unwrap();
    assert_eq!(seen.endpoints[&30_000], "127.9.9.9:30000");
}

#[tokio::test(start_paused = true)]
async fn a_data_disk_that_outlives_its_machine_is_deleted_with_it() {
    let bed = AzureBed::plain().await;
    let request = request(&bed, &[("data_disk_gib", "20")]);
    let made = bed.provider().create(&request).await.unwrap();
    let disk = made.handle.as_str().rsplit('/').next().unwrap();
    let name = format!("{disk}-data");
    let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}");
    // Somebody has told Azure to keep it.
    let id = format!("{group}/providers/Microsoft.Compute/disks/{name}");
    let kept = json!({ "id": id, "name": name, "properties": { "provisioningState": "Succeeded" } });
    bed.azure.put_resource(kept);
    let disk = ResourceHandle::new(format!("disks/{name}"));
    assert!(bed.provider().get(&request.site, &disk).await.is_ok());
    delete_to_the_end(&bed, &request.site, &made.handle).await;
    let seen = bed.provider().get(&request.site, &disk).await;
    assert_eq!(seen, Err(ProviderError::NotFound));
    assert_eq!(bed.azure.violations(), Vec::<String>::new());
}
