//! The jobs by SeaORM. Compiled once for the entities with the placeholder and once for those
//! without a schema, which are different types with the same names.

use sea_orm::{
    ActiveValue::Unchanged, ColumnTrait, ConnectionTrait, QueryFilter, QueryOrder, QuerySelect,
    Set, TransactionSession, TransactionTrait, entity::prelude::*,
};

use super::{SHOP, guard, shift};
use crate::contenders::{
    job::{BOSSES, Job, Operation},
    shop,
};

/// The job with a transaction only for several statements.
pub async fn alone<C: ConnectionTrait + TransactionTrait>(db: &C, job: &Job) {
    if job.operation.transaction().is_some() {
        let txn = db.begin().await.unwrap();
        run(&txn, job).await;
        txn.commit().await.unwrap();
    } else {
        run(db, job).await;
    }
}

/// The statements of the job.
pub async fn run<C: ConnectionTrait>(db: &C, job: &Job) {
    if let Some(operations) = job.operation.transaction() {
        for operation in operations {
            single(db, *operation, job).await;
        }
    } else {
        single(db, job.operation, job).await;
    }
}

async fn single<C: ConnectionTrait>(db: &C, operation: Operation, job: &Job) {
    match operation {
        Operation::Read => {
            let found = guard::Entity::find_by_id(job.id()).one(db).await.unwrap().unwrap();
            job.found(&found.name);
        }
        Operation::List => {
            let bosses = guard::Entity::find().filter(guard::Column::Position.eq("Boss"));
            let bosses = bosses.order_by_asc(guard::Column::Id).limit(BOSSES).all(db);
            assert_eq!(bosses.await.unwrap().len() as u64, BOSSES);
        }
        Operation::Join => {
            let shifts = shift::Entity::find().filter(shift::Column::GuardId.eq(Uuid::nil()));
            let pairs = shifts.find_also_related(guard::Entity).all(db).await.unwrap();
            job.found(&pairs[0].1.as_ref().unwrap().name);
        }
        Operation::Update => {
            let guard = guard::ActiveModel {
                id: Unchanged(job.id()),
                name: Set(job.tenant.slug.to_string()),
                updated_at: Set(tenantry_registry::now()),
                ..<guard::ActiveModel as ActiveModelTrait>::default()
            };
            job.found(&guard.update(db).await.unwrap().name);
        }
        Operation::Insert => {
            let guard = guard::ActiveModel {
                id: Set(Uuid::now_v7()),
                name: Set(job.tenant.slug.to_string()),
                position: Set("Guard".to_owned()),
                inserted_at: Set(tenantry_registry::now()),
                updated_at: Set(tenantry_registry::now()),
            };
            job.found(&guard.insert(db).await.unwrap().name);
        }
        Operation::Shape(shape) => shop::by_sea_orm(db, &SHOP, shape, job).await,
        Operation::Transaction | Operation::Write(_) => unreachable!("made of the others"),
    }
}
