//! The jobs in handwritten SQL, by sqlx.

use chrono::{DateTime, Utc};
use sea_orm::sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, query_as};
use uuid::Uuid;

use super::{
    job::{BOSSES, Job, Operation},
    shop,
};

pub type Time = DateTime<Utc>;
pub type Guard = (Uuid, String, String, Time, Time);
pub type ShiftOfGuard = (Uuid, Uuid, Time, Time, Time, Time, Uuid, String, String, Time, Time);

const GUARD: &str = "id, name, position, inserted_at, updated_at";

/// The statement of an operation, with the name of the schema.
pub fn text(operation: Operation, schema: &str) -> String {
    match operation {
        Operation::Read => format!("SELECT {GUARD} FROM {schema}.guards WHERE id = $1 LIMIT 1"),
        Operation::List => {
            format!("SELECT {GUARD} FROM {schema}.guards WHERE position = $1 ORDER BY id LIMIT $2")
        }
        Operation::Join => format!(
            "SELECT s.id, s.guard_id, s.starts_at, s.ends_at, s.inserted_at, s.updated_at, \
             g.id, g.name, g.position, g.inserted_at, g.updated_at FROM {schema}.shifts s \
             LEFT JOIN {schema}.guards g ON g.id = s.guard_id WHERE s.guard_id = $1"
        ),
        Operation::Update => format!(
            "UPDATE {schema}.guards SET name = $2, updated_at = $3 WHERE id = $1 RETURNING {GUARD}"
        ),
        Operation::Insert => format!(
            "INSERT INTO {schema}.guards ({GUARD}) VALUES ($1, $2, $3, $4, $4) RETURNING {GUARD}"
        ),
        Operation::Shape(shape) => shop::text(shape, &format!("{schema}.")),
        Operation::Transaction | Operation::Write(_) => unreachable!("made of the others"),
    }
}

/// The job, in a transaction if it has several statements.
pub async fn alone(pool: &PgPool, job: &Job) {
    let mut connection = pool.acquire().await.unwrap();
    if let Some(operations) = job.operation.transaction() {
        let mut txn = connection.begin().await.unwrap();
        for operation in operations {
            single(&mut txn, *operation, job).await;
        }
        txn.commit().await.unwrap();
    } else {
        single(&mut connection, job.operation, job).await;
    }
}

async fn single(db: &mut PgConnection, operation: Operation, job: &Job) {
    let sql = AssertSqlSafe(text(operation, &job.tenant.schema));
    match operation {
        Operation::Read => {
            let found: Guard = query_as(sql).bind(job.id()).fetch_one(db).await.unwrap();
            job.found(&found.1);
        }
        Operation::List => {
            let query = query_as(sql).bind("Boss").bind(BOSSES as i64);
            let bosses: Vec<Guard> = query.fetch_all(db).await.unwrap();
            assert_eq!(bosses.len() as u64, BOSSES);
        }
        Operation::Join => {
            let pairs: Vec<ShiftOfGuard> =
                query_as(sql).bind(Uuid::nil()).fetch_all(db).await.unwrap();
            job.found(&pairs[0].7);
        }
        Operation::Update => {
            let query = query_as(sql).bind(job.id());
            let query = query.bind(job.tenant.slug.as_str()).bind(tenantry_registry::now());
            let changed: Guard = query.fetch_one(db).await.unwrap();
            job.found(&changed.1);
        }
        Operation::Insert => {
            let query = query_as(sql).bind(Uuid::now_v7());
            let query =
                query.bind(job.tenant.slug.as_str()).bind("Guard").bind(tenantry_registry::now());
            let stored: Guard = query.fetch_one(db).await.unwrap();
            job.found(&stored.1);
        }
        Operation::Shape(_) => unreachable!("not measured by sqlx"),
        Operation::Transaction | Operation::Write(_) => unreachable!("made of the others"),
    }
}
