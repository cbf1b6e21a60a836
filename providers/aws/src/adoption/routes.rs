//! Route tables, and single routes, which EC2 has no id for: theirs is the table's and the destination.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Route, RouteOrigin, RouteTable};
use isobar_engine_model::rule::route as line;
use isobar_engine_provider::adoption::{Found, ObjectState};
use isobar_engine_provider::{ResourceStatus, Result};

use super::network::there;
use super::{Described, described};

/// The route within a VPC.
const WITHIN: &str = "local";
/// Routes that an endpoint of a VPC makes lead there.
const ENDPOINT: &str = "vpce-";

pub(super) async fn tables(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    Ok(described!(
        client,
        describe_route_tables,
        filters("route-table-id", ids),
        route_tables,
        table
    ))
}

pub(super) async fn routes(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    let tables: Vec<&str> = ids.iter().filter_map(|id| Some(id.split_once('_')?.0)).collect();
    let found: Vec<Vec<Described>> = described!(
        client,
        describe_route_tables,
        filters("route-table-id", &tables),
        route_tables,
        |one: &RouteTable| Some(singly(one))
    );
    Ok(found.into_iter().flatten().collect())
}

fn table(table: &RouteTable) -> Option<Described> {
    let given = table.routes().iter().filter(|route| is_given(route));
    let lines = given.filter_map(|route| Some(line(destination(route)?, via(route)?)));
    let found = Found::default().text("network", table.vpc_id()).set("routes", lines);
    there((table.route_table_id(), table.owner_id()), found, table.tags())
}

/// Whether somebody gave a table a route, rather than EC2.
fn is_given(route: &Route) -> bool {
    let gateway = route.gateway_id().unwrap_or_default();
    let propagated = route.origin() == Some(&RouteOrigin::EnableVgwRoutePropagation);
    gateway != WITHIN && !gateway.starts_with(ENDPOINT) && !propagated
}

fn destination(route: &Route) -> Option<&str> {
    let sixth = || route.destination_ipv6_cidr_block();
    let fourth = route.destination_cidr_block().or_else(sixth);
    fourth.or_else(|| route.destination_prefix_list_id())
}

/// In the order in which a state's targets count.
fn via(route: &Route) -> Option<&str> {
    let targets = [
        route.gateway_id(),
        route.nat_gateway_id(),
        route.egress_only_internet_gateway_id(),
        route.transit_gateway_id(),
        route.vpc_peering_connection_id(),
        route.network_interface_id(),
        route.instance_id(),
    ];
    targets.into_iter().flatten().next()
}

fn singly(table: &RouteTable) -> Vec<Described> {
    let one = |route: &Route| {
        let (id, destination) = (table.route_table_id()?, destination(route)?);
        let found = Found::default()
            .text("table", Some(id))
            .text("destination", Some(destination))
            .text("via", via(route));
        Some(Described {
            id: format!("{id}_{destination}"),
            account: table.owner_id().map(str::to_owned),
            state: ObjectState {
                fields: found.fields(),
                status: ResourceStatus::Running,
                owner: None,
            },
        })
    };
    table.routes().iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use isobar_engine_model::object::FieldValue;

    use super::*;

    #[test]
    fn routes_that_nobody_gave_are_none_of_a_table() {
        let to = |destination: &str| Route::builder().destination_cidr_block(destination);
        let propagated = to("10.9.0.0/16").gateway_id("vgw-1");
        let routes = vec![
            to("10.0.0.0/16").gateway_id(WITHIN).build(),
            propagated.origin(RouteOrigin::EnableVgwRoutePropagation).build(),
            Route::builder()
                .destination_prefix_list_id("pl-1")
                .gateway_id("vpce-1")
                .build(),
            to("0.0.0.0/0").nat_gateway_id("nat-1").build(),
            // EC2 names both the instance and its interface.
            to("10.8.0.0/16")
                .instance_id("i-1")
                .network_interface_id("eni-1")
                .build(),
        ];
        let described = RouteTable::builder()
            .route_table_id("rtb-1")
            .set_routes(Some(routes))
            .build();
        let expected = ["0.0.0.0/0 via nat-1", "10.8.0.0/16 via eni-1"].map(str::to_owned);
        let found = table(&described).and_then(|mut found| found.state.fields.remove("routes"));
        assert_eq!(found, Some(FieldValue::Set(expected.into())));
        assert_eq!(singly(&described).len(), 5, "each has an id");
    }
}
