//! OpenStack: reported, since no provider of ours takes it over. The state never says whose project it is.

use super::{Draft, Row, What, of_object};
use crate::read::Object;

pub(super) const ROWS: &[Row] = &[Row::new("openstack_compute_instance_v2", What::Machine, "instance")];

pub(super) const TAKEN: &[&str] = &["id", "region", "availability_zone"];

pub(super) fn draft(object: &Object) -> Draft {
    Draft {
        account: None,
        region: of_object(object, "region"),
        zone: object.attributes.get("availability_zone").map(str::to_owned),
        id: object.attributes.get("id").map(str::to_owned),
    }
}
