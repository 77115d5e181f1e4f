//! The limit: all statements for a tenant as one batch.

use std::sync::Arc;

use local_postgres::Server;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, Statement,
    sqlx::{self, AssertSqlSafe, Connection, PgConnection},
};
use tenantry_migrate::{Action, DynMigrator, Target, TenantMigrator, dry_run};
use tenantry_registry::SchemaName;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::common::pool;

/// Placeholder of the schema in the prepared batches.
const NAME: &str = "raw_template";

/// Raw connections, and the batch that creates a tenant.
pub struct Raw {
    connections: Vec<Mutex<PgConnection>>,
    db: DatabaseConnection,
    provision: String,
}

pub fn slug(number: usize) -> String {
    format!("tenant-{number}")
}

impl Raw {
    pub async fn new(
        server: &Server,
        connections: usize,
        migrator: impl TenantMigrator + 'static,
    ) -> Self {
        let mut all = Vec::new();
        for _ in 0..connections {
            let connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
            all.push(Mutex::new(connection));
        }
        let db = pool(server, 1).await;
        let provision = batch(&db, DynMigrator::tenant(migrator)).await;
        Self { connections: all, db, provision }
    }

    /// Executes a batch on the connection of the task.
    async fn send(&self, number: usize, sql: String) {
        let mut connection = self.connections[number % self.connections.len()].lock().await;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await.unwrap();
    }

    pub async fn provision(raw: Arc<Self>, number: usize) {
        let slug = slug(number);
        let id = Uuid::now_v7().to_string();
        let sql = raw.provision.replace(NAME, &slug.replace('-', "_"));
        raw.send(number, sql.replace("raw-template", &slug).replace(&Uuid::nil().to_string(), &id))
            .await;
    }

    pub async fn add_column(raw: Arc<Self>, schema: Option<(usize, String)>, column: String) {
        let Some((number, schema)) = schema else { return };
        let sql = format!(
            r#"BEGIN; SELECT FROM "registry"."tenants" WHERE "schema" = '{schema}' FOR UPDATE;
               SET LOCAL search_path = "{schema}", pg_temp; SET LOCAL lock_timeout = 2000;
               SELECT "version" FROM "seaql_migrations";
               ALTER TABLE "guards" ADD COLUMN "{column}" text;
               INSERT INTO "seaql_migrations" VALUES ('{column}', extract(epoch FROM now())::bigint);
               UPDATE "registry"."tenants" SET "schema_version" = '{column}', "updated_at" = now(),
                   "migration_error" = NULL, "migration_attempts" = 0 WHERE "schema" = '{schema}';
               COMMIT"#
        );
        raw.send(number, sql).await;
    }

    /// The schemas of all tenants, numbered.
    pub async fn schemas(&self) -> Vec<(usize, String)> {
        let sql = r#"SELECT "schema" FROM "registry"."tenants""#;
        let rows = self.db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
        let rows = rows.unwrap();
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).enumerate().collect()
    }

    pub async fn close(&self) {
        self.db.close_by_ref().await.unwrap();
    }
}

pub async fn count(db: &DatabaseConnection, condition: &str) -> usize {
    let sql = format!(r#"SELECT count(*) FROM "registry"."tenants" WHERE {condition}"#);
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap();
    row.unwrap().try_get_by_index::<i64>(0).unwrap() as usize
}

/// The batch that creates a tenant: the statements that a dry run prints for a new schema, and the
/// insertion of the tenant's registry row.
async fn batch(db: &DatabaseConnection, migrator: DynMigrator) -> String {
    db.execute_unprepared(&format!("CREATE SCHEMA IF NOT EXISTS {NAME}")).await.unwrap();
    let schema: SchemaName = NAME.parse().unwrap();
    let target = Target::Schema(schema);
    let mut script =
        dry_run(db, &target, &migrator, &Action::Fresh { cascade: false }).await.unwrap();
    script.retain(|sql| !sql.starts_with("DROP SCHEMA") && !sql.starts_with("UPDATE"));
    db.execute_unprepared(&format!("DROP SCHEMA {NAME}")).await.unwrap();
    let row = format!(
        r#"INSERT INTO "registry"."tenants"
           ("id", "slug", "schema", "status", "schema_version", "metadata", "inserted_at", "updated_at")
           VALUES ('{}', 'raw-template', '{NAME}', 'active', '{}', '{{}}', now(), now())"#,
        Uuid::nil(),
        migrator.latest().unwrap(),
    );
    let notify = format!("SELECT pg_notify('tenantry_tenants', '{} raw-template')", Uuid::nil());
    // Before the COMMIT at the end.
    let commit = script.pop().unwrap();
    script.extend([row, notify, commit]);
    script.join(";\n")
}
