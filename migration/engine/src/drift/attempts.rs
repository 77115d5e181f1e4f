//! Inspection of schemas, again where a concurrent change or an unreachable node interferes.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use sea_orm::{DatabaseConnection, DbErr};
use tenantry_registry::SchemaName;

use super::{
    down_nodes::DownNodes,
    inspect::{Depth, InspectedSchema, Selection, inspect_once},
};
use crate::{DbErrorKind, DynMigrator, NodeAddress, describe, is_citus, nodes_of};

/// Attempts, and the pause between them, if a concurrent change interferes.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// Inspects these schemas. Schemas that no longer exist are left out.
///
/// PostgreSQL's functions for definitions read the current catalog, not the snapshot, and fail if an
/// object was dropped meanwhile. Then, or if the role may not read a schema, the schemas are
/// inspected one by one. Those on nodes that cannot be reached are inspected only as far as their
/// registry rows.
pub(super) async fn inspect(
    db: &DatabaseConnection,
    migrator: &DynMigrator,
    selection: Selection,
    depth: Depth,
    down: &mut DownNodes,
) -> Result<Vec<InspectedSchema>, DbErr> {
    let run = Inspector { db, migrator, depth };
    if down.is_empty() {
        match run.once(&selection).await {
            Err(error) if is_of_node(&error) || concerns_only_these_schemas(&error) => {}
            result => return result,
        }
    }
    run.by_node(selection, down).await
}

/// Inspection of schemas to one depth.
struct Inspector<'a> {
    db: &'a DatabaseConnection,
    migrator: &'a DynMigrator,
    depth: Depth,
}

impl Inspector<'_> {
    async fn once(&self, selection: &Selection) -> Result<Vec<InspectedSchema>, DbErr> {
        inspect_once(self.db, self.migrator, selection, self.depth).await
    }

    /// Inspects the schemas of one node after another, so that a node that is down does not keep
    /// those of others from being inspected.
    async fn by_node(
        &self,
        selection: Selection,
        down: &mut DownNodes,
    ) -> Result<Vec<InspectedSchema>, DbErr> {
        if let Selection::Unregistered(_) = selection {
            return self.one_by_one(selection, None, down).await;
        }
        let rows = inspect_once(self.db, self.migrator, &selection, Depth::Row).await?;
        let names = rows.iter().map(|row| row.schema.to_string()).collect();
        let nodes = match is_citus(self.db).await? {
            true => nodes_of(self.db, names).await?,
            false => HashMap::new(),
        };
        let mut groups: BTreeMap<Option<NodeAddress>, Vec<SchemaName>> = BTreeMap::new();
        for row in &rows {
            let node = nodes.get(row.schema.as_str()).cloned();
            groups.entry(node).or_default().push(row.schema.clone());
        }
        let mut inspected = Vec::new();
        for (node, schemas) in groups {
            let selection = Selection::Schemas(schemas);
            inspected.extend(match &node {
                None => self.one_by_one(selection, None, down).await?,
                Some(address) if down.contains(address) => {
                    self.unreachable(&selection, node, down).await?
                }
                Some(_) => match self.once(&selection).await {
                    Err(error) if is_of_node(&error) => {
                        down.insert(node.clone(), describe(&error));
                        self.unreachable(&selection, node, down).await?
                    }
                    Err(error) if concerns_only_these_schemas(&error) => {
                        self.one_by_one(selection, node, down).await?
                    }
                    result => result?,
                },
            });
        }
        Ok(inspected)
    }

    /// The registry rows of schemas on a node that is down.
    async fn unreachable(
        &self,
        selection: &Selection,
        node: Option<NodeAddress>,
        down: &mut DownNodes,
    ) -> Result<Vec<InspectedSchema>, DbErr> {
        let mut rows = inspect_once(self.db, self.migrator, selection, Depth::Row).await?;
        for row in &mut rows {
            // A tenant that is being dropped is reported as such.
            if row.tenant.as_ref().is_none_or(|tenant| !tenant.dropping) {
                row.unreachable = true;
                down.add(&node, row.subject());
            }
        }
        Ok(rows)
    }

    async fn one_by_one(
        &self,
        selection: Selection,
        node: Option<NodeAddress>,
        down: &mut DownNodes,
    ) -> Result<Vec<InspectedSchema>, DbErr> {
        let (db, migrator, depth) = (self.db, self.migrator, self.depth);
        let mut inspected = Vec::new();
        for one in selection.one_by_one() {
            if node.as_ref().is_some_and(|node| down.contains(node)) {
                inspected.extend(self.unreachable(&one, node.clone(), down).await?);
                continue;
            }
            let mut tries = 1;
            inspected.extend(loop {
                match inspect_once(db, migrator, &one, depth).await {
                    Err(error) if is_concurrent_ddl_error(&error) && tries < TRIES => tries += 1,
                    Err(error) if is_of_node(&error) => {
                        down.insert(node.clone(), describe(&error));
                        break self.unreachable(&one, node.clone(), down).await?;
                    }
                    Err(error) if concerns_only_these_schemas(&error) => {
                        let mut rows = inspect_once(db, migrator, &one, Depth::Row).await?;
                        rows.iter_mut().for_each(|it| it.error = Some(describe(&error)));
                        break rows;
                    }
                    result => break result?,
                }
                tokio::time::sleep(PAUSE).await;
            });
        }
        Ok(inspected)
    }
}

/// Whether a node of the cluster cannot be reached.
fn is_of_node(error: &DbErr) -> bool {
    DbErrorKind::of(error) == DbErrorKind::NodeUnavailable
}

/// Whether the error concerns these schemas, so that others may be inspected.
fn concerns_only_these_schemas(error: &DbErr) -> bool {
    DbErrorKind::sqlstate(error).is_some()
        && !matches!(
            DbErrorKind::of(error),
            DbErrorKind::PoolTimeout | DbErrorKind::Unavailable | DbErrorKind::Refused
        )
}

/// Whether a concurrent change of the schema caused the error: an object was dropped (XX000 "cache
/// lookup failed", 42P01, 42704, 3F000) or is locked (55P03, 40P01).
fn is_concurrent_ddl_error(error: &DbErr) -> bool {
    let code = DbErrorKind::sqlstate(error);
    code.is_some_and(|code| {
        matches!(code.as_ref(), "XX000" | "42P01" | "42704" | "3F000" | "55P03" | "40P01")
    })
}
