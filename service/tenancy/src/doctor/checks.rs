use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, Value};
use tenantry_migrate::{
    VersionCount, VersionStatus,
    drift::unregistered_schemas,
    invalid_indexes,
    setup::{MissingGrant, missing_grants},
    tenants_status,
};
use tenantry_registry::{Slug, TenantId};

use super::{Finding, FindingKind, MAX_FINDINGS, Remedy};
use crate::{Error, Tenancy};

impl Tenancy {
    pub(super) async fn unfinished_drops(&self, min_age: Duration) -> Result<Vec<Finding>, Error> {
        #[derive(FromQueryResult)]
        struct Dropping {
            slug: Slug,
            schema: String,
            since: DateTime<Utc>,
        }
        let sql = "SELECT slug, schema, updated_at AS since FROM registry.tenants
            WHERE status = 'dropping' AND updated_at <= now() - $2 * interval '1 second'
            ORDER BY id LIMIT $1";
        let seconds = min_age.as_secs_f64().min(3e10);
        let rows: Vec<Dropping> = self.rows(sql, [seconds.into()]).await?;
        let finding = |Dropping { slug, schema, since }| Finding {
            kind: FindingKind::UnfinishedDrop,
            tenant: Some(slug.to_string()),
            schema: Some(schema),
            message: format!(
                "the drop that began at {} is not finished; the tenant is refused",
                time(since)
            ),
            remedy: Remedy::FinishDrop { tenant: slug },
        };
        Ok(rows.into_iter().map(finding).collect())
    }

    /// Rows without a schema.
    pub(super) async fn missing_schemas(&self) -> Result<Vec<Finding>, Error> {
        #[derive(FromQueryResult)]
        struct Missing {
            slug: Option<Slug>,
            schema: String,
        }
        let sql = "SELECT t.slug, t.schema FROM registry.tenants t
            WHERE t.status NOT IN ('dropping', 'dropped') AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = t.schema)
            ORDER BY t.id LIMIT $1";
        let rows: Vec<Missing> = self.rows(sql, []).await?;
        let finding = |Missing { slug, schema }| Finding {
            kind: FindingKind::MissingSchema,
            tenant: slug.as_ref().map(ToString::to_string),
            message: match slug {
                Some(_) => "its schema does not exist: every statement fails",
                None => "the schema of this spare does not exist: it would make creations fail",
            }
            .to_owned(),
            remedy: match slug {
                Some(tenant) => Remedy::RestoreOrDrop { tenant },
                None => Remedy::RemoveSpare { schema: schema.clone() },
            },
            schema: Some(schema),
        };
        Ok(rows.into_iter().map(finding).collect())
    }

    /// Schemas without a row.
    pub(super) async fn unregistered_schemas(&self) -> Result<Vec<Finding>, Error> {
        let inner = &self.inner;
        let prefix = &inner.schema_prefix;
        let found = unregistered_schemas(&inner.db, &inner.migrator, prefix, MAX_FINDINGS).await?;
        let finding = |it: tenantry_migrate::drift::UnregisteredSchema| {
            let schema = it.schema;
            let (kind, message, remedy) = match (it.unfinished, it.migrated) {
                (true, _) => (
                    FindingKind::UnfinishedCreation,
                    "a creation was interrupted and has left this schema",
                    Remedy::RemoveUnfinished { schema: schema.clone() },
                ),
                (false, true) => (
                    FindingKind::OrphanSchema,
                    "it has a migrations table and belongs to no tenant",
                    Remedy::AdoptOrDrop { schema: schema.clone() },
                ),
                (false, false) => (
                    FindingKind::SimilarSchema,
                    "it is named like the schema of a tenant and belongs to none",
                    Remedy::Inspect { schema: schema.clone() },
                ),
            };
            let (tenant, schema, message) = (None, Some(schema), message.to_owned());
            Finding { kind, tenant, schema, message, remedy }
        };
        Ok(found.into_iter().map(finding).collect())
    }

    /// Tenants and spares at other versions, and failed migrations.
    pub(super) async fn versions(&self) -> Result<Vec<Finding>, Error> {
        let status = tenants_status(&self.inner.db, &self.inner.migrator).await?;
        let mut found = Vec::new();
        for failed in status.failed.into_iter().take(MAX_FINDINGS as usize) {
            let failure = failed.failure;
            let migration = failure.migration.map(|it| format!(" {it}")).unwrap_or_default();
            let slug: Option<Slug> = failed.tenant.parse().ok();
            found.push(Finding {
                kind: FindingKind::MigrationFailed,
                tenant: slug.as_ref().map(ToString::to_string),
                schema: Some(failed.schema),
                message: format!("its last migration{migration} failed: {}", failure.message),
                remedy: Remedy::Migrate { tenant: slug },
            });
        }
        for version in status.versions {
            found.extend(version_findings(&version));
        }
        Ok(found)
    }

    pub(super) async fn invalid_indexes(&self) -> Result<Vec<Finding>, Error> {
        let found = invalid_indexes(&self.inner.db, MAX_FINDINGS).await?;
        let finding = |it: tenantry_migrate::InvalidIndex| Finding {
            kind: FindingKind::InvalidIndex,
            tenant: it.tenant,
            schema: Some(it.schema),
            message: match it.left {
                true => format!("index {} is left from REINDEX CONCURRENTLY", it.index),
                false => format!("index {} is invalid: no query uses it", it.index),
            },
            remedy: Remedy::Sql {
                sql: match it.left {
                    true => format!("DROP INDEX CONCURRENTLY {}", it.index),
                    false => format!("REINDEX INDEX CONCURRENTLY {}", it.index),
                },
            },
        };
        Ok(found.into_iter().map(finding).collect())
    }

    /// What the role may not do with the tables and other objects of tenants.
    pub(super) async fn missing_rights(&self) -> Result<Vec<Finding>, Error> {
        let found = missing_grants(&self.inner.db, MAX_FINDINGS).await?;
        let finding = |it: MissingGrant| Finding {
            kind: FindingKind::MissingRights,
            tenant: it.tenant,
            schema: Some(it.schema),
            message: format!("role {} lacks privileges", it.role),
            remedy: Remedy::Sql { sql: it.sql },
        };
        Ok(found.into_iter().map(finding).collect())
    }

    /// Rows of dropped tenants: their hostnames, earlier slugs and keys.
    pub(super) async fn stray_rows(&self) -> Result<Vec<Finding>, Error> {
        #[derive(FromQueryResult)]
        struct Stray {
            id: TenantId,
            slug: Option<String>,
            number: i64,
        }
        let sql = "SELECT t.id, t.slug, count(*) AS number FROM registry.tenants t JOIN (
                SELECT tenant_id FROM registry.domains
                UNION ALL SELECT tenant_id FROM registry.aliases
                UNION ALL SELECT tenant_id FROM registry.api_keys) r ON r.tenant_id = t.id
            WHERE t.status = 'dropped' GROUP BY t.id ORDER BY t.id LIMIT $1";
        let rows: Vec<Stray> = self.rows(sql, []).await?;
        let finding = |Stray { id, slug, number }| Finding {
            kind: FindingKind::StrayRows,
            tenant: slug,
            schema: None,
            message: format!(
                "hostnames, earlier slugs and keys of the tenant, which was dropped, are stored: \
                 {number}"
            ),
            remedy: Remedy::RemoveRows { tenant_id: id },
        };
        Ok(rows.into_iter().map(finding).collect())
    }

    /// Archived tenants that were kept long enough.
    pub(super) async fn expired_archives(&self) -> Result<Vec<Finding>, Error> {
        #[derive(FromQueryResult)]
        struct Expired {
            slug: Slug,
            schema: String,
            purge_after: DateTime<Utc>,
        }
        let sql = "SELECT slug, schema, purge_after FROM registry.tenants
            WHERE status = 'archived' AND purge_after <= now() ORDER BY id LIMIT $1";
        let rows: Vec<Expired> = self.rows(sql, []).await?;
        let finding = |Expired { slug, schema, purge_after }| Finding {
            kind: FindingKind::ExpiredArchive,
            tenant: Some(slug.to_string()),
            schema: Some(schema),
            message: format!(
                "it is archived, and its data was to be kept until {}",
                time(purge_after)
            ),
            remedy: Remedy::Purge { tenant: slug },
        };
        Ok(rows.into_iter().map(finding).collect())
    }

    /// The rows of a query whose first parameter is [`MAX_FINDINGS`].
    async fn rows<R: FromQueryResult>(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<R>, DbErr> {
        let values = [MAX_FINDINGS.cast_signed().into()].into_iter().chain(values);
        let query = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        let rows = self.inner.db.query_all_raw(query).await?;
        rows.iter().map(|row| R::from_query_result(row, "")).collect()
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What is wrong with the tenants and the spares at one version.
fn version_findings(version: &VersionCount) -> Vec<Finding> {
    let at = version.version.as_deref().unwrap_or("no migration");
    let (tenants, spares) = (version.tenants - version.spares, version.spares);
    let only: Option<Slug> = version.oldest.parse().ok().filter(|_| version.tenants == 1);
    let of =
        |n: usize, noun: &str| if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") };
    let finding = |kind, tenant: Option<Slug>, message, remedy| Finding {
        kind,
        tenant: tenant.map(|slug| slug.to_string()),
        schema: None,
        message,
        remedy,
    };
    match version.status {
        VersionStatus::UpToDate => Vec::new(),
        VersionStatus::Behind { behind } => {
            let lack =
                |n, noun| format!("{} at {at}: {} missing", of(n, noun), of(behind, "migration"));
            let mut found = Vec::new();
            if tenants > 0 {
                let remedy = Remedy::Migrate { tenant: only.clone() };
                found.push(finding(FindingKind::Behind, only, lack(tenants, "tenant"), remedy));
            }
            if spares > 0 {
                let message = format!(
                    "{}; no tenant is made of a spare that is behind",
                    lack(spares, "spare")
                );
                let remedy = Remedy::Migrate { tenant: None };
                found.push(finding(FindingKind::SpareBehind, None, message, remedy));
            }
            found
        }
        VersionStatus::Ahead => {
            let message = format!(
                "{} at {at}, which this program does not have",
                of(version.tenants, "tenant")
            );
            vec![finding(FindingKind::UnknownVersion, only, message, Remedy::UpdateProgram)]
        }
    }
}
