//! What a site may ask for besides a machine: a disk for what it keeps, an identity, an address.

use isobar_engine_model::id::ImageId;
use isobar_engine_provider::conformance::TestBed as _;
use isobar_tests_clouds::asked::Asked;
use isobar_tests_clouds::aws::{AMI, ENGINE_AMI};

use crate::bed::StrictBed;
use crate::request;

#[tokio::test]
async fn a_machine_has_the_disk_and_the_identity_that_its_site_asks_for() {
    let arn = "arn:aws:iam::123456789012:instance-profile/engines/isobar";
    for identity in ["isobar-engine", arn] {
        let bed = StrictBed::reliable().await;
        let mut request = request(&bed);
        for (name, value) in [
            ("data_disk_gib", "20"),
            ("machine_identity", identity),
            ("public_address", "true"),
        ] {
            request.site.settings.insert(name.to_owned(), value.to_owned());
        }
        request.spec.machine_mut().unwrap().image = ImageId::new(ENGINE_AMI);
        bed.provider().create(&request).await.unwrap();
        let machine = bed.cloud.machines().remove(0);
        let asked = Asked {
            image: ENGINE_AMI.to_owned(),
            data_disk_gib: Some(20),
            identity: Some(identity.to_owned()),
            public_address: true,
        };
        assert_eq!(bed.ec2.machines().asked(&machine.handle), Some(asked));
    }
}

#[tokio::test]
async fn a_machine_has_nothing_that_its_site_does_not_ask_for() {
    let bed = StrictBed::reliable().await;
    bed.provider().create(&request(&bed)).await.unwrap();
    let machine = bed.cloud.machines().remove(0);
    let asked = Asked {
        image: AMI.to_owned(),
        ..Asked::default()
    };
    assert_eq!(bed.ec2.machines().asked(&machine.handle), Some(asked));
}

#[tokio::test]
async fn a_machine_is_where_its_cloud_says_that_it_is() {
    let bed = StrictBed::reliable().await;
    let mut request = request(&bed);
    let public = |value: &str| ("public_address".to_owned(), value.to_owned());
    request.site.settings.extend([public("true")]);
    let made = bed.provider().create(&request).await.unwrap();
    let machine = bed.cloud.machines().remove(0);
    bed.ec2
        .machines()
        .reached_at(machine.handle.clone(), "127.9.9.9".parse().unwrap());
    let seen = bed.provider().get(&request.site, &made.handle).await.unwrap();
    assert_eq!(seen.endpoints[&30_000], "127.9.9.9:30000");
}
