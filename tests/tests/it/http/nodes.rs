//! Nodes of a Citus cluster, against the stand-in.

use serde_json::json;

use super::{Site, fields, heard};
use crate::{
    citus::{
        nodes_down::{UNREACHABLE, take_down},
        stand_in,
    },
    support::http_server::HttpServer,
};

#[tokio::test]
async fn a_tenant_on_a_node_that_is_down_is_503_and_others_are_served() {
    let (site, one, two) = Site::with_tenants().await;
    let plain = site.db.plain().await;
    super::execute(&plain, &format!("CREATE SCHEMA stand_in; {UNREACHABLE}")).await;
    take_down(&plain, "tenant_1", "guards").await;
    for _ in 0..3 {
        let answer = one.get("/guards").await;
        let problem = answer.problem(503, "tenant-unreachable");
        assert_eq!(answer.header("retry-after"), "1");
        assert!(!problem.to_string().contains("worker-2"), "{problem}");
        two.get("/guards").await.is(200);
    }
    site.caller("localhost").get("/health").await.is(204);
    // The operator finds the node in the log.
    assert!(site.serving.stderr().contains("worker-2:5432"), "{}", site.serving.stderr());
}

/// A site on the stand-in of a cluster, with a tenant.
async fn cluster() -> Site {
    let db = stand_in::cluster().await;
    let serving = HttpServer::start(&db.url());
    let site = Site { serving, db };
    site.create("acme").await;
    site
}

#[tokio::test]
async fn operators_list_nodes_and_move_tenants() {
    let site = cluster().await;
    let nodes = heard(site.operator("GET", "/admin/nodes")).await.is(200).json();
    assert_eq!(nodes[0]["host"], "coordinator");
    let tenants = nodes.as_array().unwrap().iter().map(|node| node["tenants"].as_u64().unwrap());
    assert_eq!(tenants.sum::<u64>(), 1);
    let placed = async || {
        let page = site.operator("GET", "/admin/tenants?placement=true");
        let item = heard(page).await.is(200).json()["items"][0].clone();
        assert_eq!(item["slug"], "acme");
        item["node"]["host"].as_str().unwrap().to_owned()
    };
    let to = if placed().await == "worker-1" { "worker-2" } else { "worker-1" };
    let path = "/admin/tenants/acme/move";
    for moved in [true, false] {
        let request = site.operator("POST", path).json(&json!({ "node": to }));
        let answer = heard(request).await.is(200).json();
        assert_eq!((&answer["slug"], &answer["node"]["host"]), (&json!("acme"), &json!(to)));
        assert_eq!(answer["moved"], moved);
    }
    assert_eq!(placed().await, to);
    let plain = heard(site.operator("GET", "/admin/tenants")).await.is(200).json();
    assert_eq!(plain["items"][0].get("node"), None);

    let unknown = site.operator("POST", path).json(&json!({ "node": "worker-9" }));
    heard(unknown).await.problem(422, "unknown-node");
    let empty = heard(site.operator("POST", path).json(&json!({}))).await;
    assert_eq!(empty.invalid(), fields([("node", "required")]));
    super::execute(&site.db.plain().await, "CREATE TABLE acme.visits (at int)").await;
    let other = if to == "worker-1" { "worker-2" } else { "worker-1" };
    let refused = site.operator("POST", path).json(&json!({ "node": other }));
    let problem = heard(refused).await.problem(409, "not-movable");
    assert!(problem["detail"].as_str().unwrap().contains("visits"), "{problem}");
    // Not without the operator's token.
    let anonymous = site.caller("localhost").request("POST", path).json(&json!({ "node": other }));
    heard(anonymous).await.is(401);
}

#[tokio::test]
async fn one_postgresql_server_has_no_nodes() {
    let (site, ..) = Site::with_tenants().await;
    for path in ["/admin/nodes", "/admin/tenants?placement=true"] {
        let problem = heard(site.operator("GET", path)).await.problem(501, "no-nodes");
        assert!(problem["detail"].as_str().unwrap().contains("Citus"), "{problem}");
    }
    let request = site.operator("POST", "/admin/tenants/tenant-1/move");
    heard(request.json(&json!({ "node": "worker-1" }))).await.problem(501, "no-nodes");
}
