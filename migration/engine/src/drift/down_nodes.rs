//! Nodes of a cluster that cannot be reached.

use std::collections::BTreeMap;

use super::{Finding, finding::SchemaRef};
use crate::NodeAddress;

/// Nodes that did not answer, and the schemas that were left out because of that. A node is tried
/// once: each attempt may take as long as the cluster waits for a connection.
#[derive(Debug, Default)]
pub(super) struct DownNodes(BTreeMap<Option<NodeAddress>, DownNode>);

#[derive(Debug)]
struct DownNode {
    /// The error of the first statement.
    reason: String,
    tenants: Vec<SchemaRef>,
}

impl DownNodes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, node: &NodeAddress) -> bool {
        self.0.contains_key(&Some(node.clone()))
    }

    /// Adds a node, or an unknown one, that a statement has failed for.
    pub(super) fn insert(&mut self, node: Option<NodeAddress>, reason: String) {
        self.0.entry(node).or_insert(DownNode { reason, tenants: Vec::new() });
    }

    /// Adds a schema of a node that is down.
    pub(super) fn add(&mut self, node: &Option<NodeAddress>, schema: SchemaRef) {
        if let Some(down) = self.0.get_mut(node) {
            down.tenants.push(schema);
        }
    }

    pub(super) fn into_findings(self) -> impl Iterator<Item = Finding> {
        self.0.into_iter().map(|(node, DownNode { reason, mut tenants })| {
            tenants.sort();
            tenants.dedup();
            Finding::Unreachable { tenants, node, reason }
        })
    }
}
