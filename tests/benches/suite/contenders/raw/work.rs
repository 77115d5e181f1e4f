//! The jobs by tokio-postgres.

use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{Key, Raw, Turn};
use crate::contenders::{
    job::{BOSSES, Job, Operation},
    shop,
    sql::{Guard, ShiftOfGuard, text},
};

/// The job, in a transaction if it has several statements.
pub async fn alone(raw: &Raw, job: &Job) {
    if let Some(operations) = job.operation.transaction() {
        let txn = raw.for_transaction(&job.tenant).begin().await;
        for operation in operations {
            single(&txn, *operation, job).await;
        }
        txn.commit().await;
    } else {
        single(&raw.of(&job.tenant).share().await, job.operation, job).await;
    }
}

async fn single<L>(db: &Turn<'_, L>, operation: Operation, job: &Job) {
    let key = Key { tenant: job.tenant.number, operation };
    let text = || text(operation, &job.tenant.schema);
    let (id, name, now) = (job.id(), job.tenant.slug.as_str(), tenantry_registry::now());
    match operation {
        Operation::Read => {
            let rows = db.query(key, text, &[(&id, Type::UUID)]).await;
            job.found(&guard(&rows[0]).1);
        }
        Operation::List => {
            let limit = BOSSES as i64;
            let values = [(&"Boss" as _, Type::TEXT), (&limit as _, Type::INT8)];
            let bosses: Vec<_> = db.query(key, text, &values).await.iter().map(guard).collect();
            assert_eq!(bosses.len() as u64, BOSSES);
        }
        Operation::Join => {
            let rows = db.query(key, text, &[(&Uuid::nil(), Type::UUID)]).await;
            let pairs: Vec<_> = rows.iter().map(shift_of_guard).collect();
            job.found(&pairs[0].7);
        }
        Operation::Update => {
            let values =
                [(&id as _, Type::UUID), (&name as _, Type::TEXT), (&now as _, Type::TIMESTAMPTZ)];
            job.found(&guard(&db.query(key, text, &values).await[0]).1);
        }
        Operation::Insert => {
            let id = Uuid::now_v7();
            let values = [
                (&id as _, Type::UUID),
                (&name as _, Type::TEXT),
                (&"Guard" as _, Type::TEXT),
                (&now as _, Type::TIMESTAMPTZ),
            ];
            job.found(&guard(&db.query(key, text, &values).await[0]).1);
        }
        Operation::Shape(shape) => shop::by_raw(db, key, text, shape, job).await,
        Operation::Transaction | Operation::Write(_) => unreachable!("made of the others"),
    }
}

fn guard(row: &Row) -> Guard {
    (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
}

#[rustfmt::skip]
fn shift_of_guard(row: &Row) -> ShiftOfGuard {
    (
        row.get(0), row.get(1), row.get(2), row.get(3), row.get(4), row.get(5),
        row.get(6), row.get(7), row.get(8), row.get(9), row.get(10),
    )
}
