//! Reading the audit log, and its retention.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sea_orm::ConnectionTrait;
use serde_json::Value;
use tenantry::{
    Action, Actor, AuditFilter, Config, NewTenant, RenameOptions, Tenancy, page::PageRequest,
};

use crate::support::{
    TestDb,
    catalog::texts,
    process::{Ran, program_on},
    slug,
};

fn lines(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().collect()
}

#[tokio::test]
async fn entries_are_filtered_by_tenant_action_and_time_in_both_orders() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["tenant-1", "tenant-2"]).await;
    let tenancy = tenancy.acting_as(Actor::new("abu"));
    tenancy.drop(&slug("tenant-1")).await.unwrap();
    tenancy.create(NewTenant::new(slug("tenant-1"))).await.unwrap();
    let read = async |filter: AuditFilter, limit: u64| {
        let mut request = PageRequest { after: None, limit };
        let mut found = Vec::new();
        loop {
            let page = tenancy.audit(&filter, request).await.unwrap();
            assert!(page.items.len() as u64 <= limit);
            found.extend(page.items.into_iter().map(|it| it.action.to_string()));
            match page.next {
                Some(next) => request.after = Some(next),
                None => return found,
            }
        }
    };
    let all = || AuditFilter { tenant: Some(slug("tenant-1")), ..AuditFilter::default() };
    let expected = ["created", "dropping", "dropped", "created"];
    for limit in [1, 3, 200] {
        assert_eq!(read(all(), limit).await, expected);
        let mut newest = read(AuditFilter { newest_first: true, ..all() }, limit).await;
        newest.reverse();
        assert_eq!(newest, expected);
    }
    let created = AuditFilter { action: Some(Action::Created), ..AuditFilter::default() };
    assert_eq!(read(created, 2).await.len(), 3);
    let dropped = AuditFilter { action: Some(Action::Dropped), ..all() };
    let entries = tenancy.audit(&dropped, PageRequest::default()).await.unwrap().items;
    let since = AuditFilter { since: Some(entries[0].at), ..all() };
    assert_eq!(read(since, 200).await, ["dropped", "created"]);
    // Under a slug that is reserved for the tenant.
    tenancy.rename(&slug("tenant-2"), &slug("new"), RenameOptions::default()).await.unwrap();
    for name in ["tenant-2", "new"] {
        let of_one = AuditFilter { tenant: Some(slug(name)), ..AuditFilter::default() };
        assert_eq!(read(of_one, 200).await, ["created", "renamed"]);
    }
    let unknown = AuditFilter { tenant: Some(slug("unknown")), ..AuditFilter::default() };
    assert!(read(unknown, 200).await.is_empty());
}

#[tokio::test]
async fn entries_that_are_too_old_are_deleted_in_batches_and_others_stay() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let insert = "INSERT INTO registry.audit (id, actor, action, at)
        SELECT gen_random_uuid(), 'a', 'updated', now() - n * interval '1 day'
        FROM generate_series(0, 9) n, generate_series(1, 250)";
    plain.execute_unprepared(insert).await.unwrap();
    let count = async || texts(&plain, "SELECT count(*)::text FROM registry.audit").await;
    let with = async |days: Option<f64>| {
        let audit_retention = days.map(|days| Duration::from_secs_f64(days * 86_400.0));
        Tenancy::connect(&Config { audit_retention, ..db.config() }).await.unwrap()
    };
    for keeps_all in [None, Some(11.0), Some(1e12)] {
        assert_eq!(with(keeps_all).await.delete_old_audit_entries().await.unwrap(), 0);
    }
    let tenancy = with(Some(1.5)).await;
    assert_eq!(tenancy.delete_old_audit_entries().await.unwrap(), 2000);
    assert_eq!(count().await, ["500"]);
    assert_eq!(tenancy.delete_old_audit_entries().await.unwrap(), 0);
}

#[tokio::test]
async fn the_command_lists_the_newest_entries_and_refuses_unknown_actions() {
    let db = TestDb::new().await;
    let run = |words: &[&str]| Ran::on("tenantry", &db.url(), words);
    for slug in ["tenant-1", "tenant-2"] {
        run(&["tenant", "create", slug]).exits(0);
    }
    run(&["tenant", "update", "tenant-1", "--name", "Acme"]).exits(0);
    let listed = run(&["audit"]).exits(0);
    let rows = lines(&listed);
    assert_eq!(rows.len(), 4, "{}", listed.stdout);
    assert!(rows[0].starts_with("TIME"), "{}", rows[0]);
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::current()).unwrap().unwrap().name;
    for part in ["updated", "tenant-1", "name: none → Acme", &user] {
        assert!(rows[3].contains(part), "{part}: {}", rows[3]);
    }
    let json: Value =
        serde_json::from_str(&run(&["audit", "--last", "1", "--json"]).exits(0).stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["action"], "updated");
    assert_eq!(json[0]["after"]["name"], "Acme");
    let json: Value =
        serde_json::from_str(&run(&["audit", "--last", "0", "--json"]).exits(0).stdout).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 3);
    assert_eq!(json[2]["after"]["name"], "Acme");
    assert_eq!(lines(&run(&["audit", "--last", "0"]).exits(0)), rows);
    let of_one = run(&["audit", "--tenant", "tenant-1", "--action", "created", "--since", "1h"]);
    assert_eq!(lines(&of_one.exits(0)).len(), 2);
    let unknown = run(&["audit", "--action", "teleported"]).exits(2);
    assert!(unknown.stderr.contains("teleported") && unknown.stderr.contains("domain_added"));
}

#[tokio::test]
async fn the_command_follows_the_changes_of_others_until_it_is_interrupted() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["tenant-1"]).await;
    let mut command = program_on("tenantry", &db.url(), &["audit", "--follow", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let entry: Value = serde_json::from_str(&line).unwrap();
        format!("{} {}", entry["action"], entry["slug"]).replace('"', "")
    };
    assert_eq!(next(), "created tenant-1");
    tenancy.create(NewTenant::new(slug("tenant-2"))).await.unwrap();
    assert_eq!(next(), "created tenant-2");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
