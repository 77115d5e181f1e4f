//! Interleaved changes to two tenants: each has its own changes only.

use std::collections::BTreeMap;

use entity::guard;
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter,
    TransactionTrait,
    sea_query::{Expr, OnConflict},
};
use tenantry::Tenant;
use uuid::Uuid;

use super::{
    TwoTenants, guard_id,
    two_tenants::{new_guard, postgres},
};

/// Names of guards by key.
type Rows = BTreeMap<Uuid, String>;

#[derive(Debug, Clone)]
enum Change {
    Store(u128, String),
    Rename(u128, String),
    RenameAll(String),
    Remove(u128),
    RemoveAllNamed(String),
}

/// Where a change is made.
#[derive(Debug, Clone, Copy)]
enum Within {
    Nothing,
    Transaction { kept: bool },
    Savepoint { kept: bool },
    SearchPath { kept: bool },
}

impl Change {
    async fn make(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        match self {
            Self::Store(number, name) => {
                let there = OnConflict::column(guard::Column::Id)
                    .update_column(guard::Column::Name)
                    .to_owned();
                let guard = guard::Entity::insert(new_guard(*number, name, "Gate"));
                guard.on_conflict(there).exec(db).await?;
            }
            Self::Rename(number, name) => match new_guard(*number, name, "Gate").update(db).await {
                Ok(_) | Err(DbErr::RecordNotUpdated) => {}
                Err(error) => return Err(error),
            },
            Self::RenameAll(name) => {
                let all = guard::Entity::update_many();
                let name = Expr::value(name.as_str());
                all.col_expr(guard::Column::Name, name).exec(db).await?;
            }
            Self::Remove(number) => {
                guard::Entity::delete_by_id(guard_id(*number)).exec(db).await?;
            }
            Self::RemoveAllNamed(name) => {
                let named = guard::Column::Name.eq(name.as_str());
                guard::Entity::delete_many().filter(named).exec(db).await?;
            }
        }
        Ok(())
    }

    fn expect(&self, rows: &mut Rows) {
        match self {
            Self::Store(number, name) => {
                rows.insert(guard_id(*number), name.clone());
            }
            Self::Rename(number, name) => {
                if let Some(there) = rows.get_mut(&guard_id(*number)) {
                    there.clone_from(name);
                }
            }
            Self::RenameAll(name) => rows.values_mut().for_each(|it| it.clone_from(name)),
            Self::Remove(number) => {
                rows.remove(&guard_id(*number));
            }
            Self::RemoveAllNamed(name) => rows.retain(|_, there| there != name),
        }
    }
}

impl Within {
    /// Makes a change, and returns whether it is committed.
    async fn make(self, change: &Change, tenant: &Tenant) -> Result<bool, DbErr> {
        let (txn, kept) = match self {
            Self::Nothing => {
                change.make(tenant).await?;
                return Ok(true);
            }
            Self::Savepoint { kept } => {
                let outer = tenant.begin().await?;
                let inner = outer.begin().await?;
                change.make(&inner).await?;
                if kept {
                    inner.commit().await?;
                } else {
                    inner.rollback().await?;
                }
                outer.commit().await?;
                return Ok(kept);
            }
            Self::Transaction { kept } => (tenant.begin().await?, kept),
            Self::SearchPath { kept } => (tenant.begin_with_search_path().await?, kept),
        };
        change.make(&txn).await?;
        if kept {
            txn.commit().await?;
        } else {
            txn.rollback().await?;
        }
        Ok(kept)
    }
}

fn changes() -> impl Strategy<Value = Vec<(bool, Change, Within)>> {
    let number = 1..5_u128;
    let name = || proptest::sample::select(&["Abu", "Bea", "Cem"][..]).prop_map(str::to_owned);
    let change = prop_oneof![
        4 => (number.clone(), name()).prop_map(|(number, name)| Change::Store(number, name)),
        2 => (number.clone(), name()).prop_map(|(number, name)| Change::Rename(number, name)),
        1 => name().prop_map(Change::RenameAll),
        1 => number.prop_map(Change::Remove),
        1 => name().prop_map(Change::RemoveAllNamed),
    ];
    let within = (0..4, any::<bool>()).prop_map(|(within, kept)| match within {
        0 => Within::Nothing,
        1 => Within::Transaction { kept },
        2 => Within::Savepoint { kept },
        _ => Within::SearchPath { kept },
    });
    vec((any::<bool>(), change, within), 1..24)
}

/// The guards in a schema, as a bare connection finds them.
async fn stored(both: &TwoTenants, schema: &str) -> Rows {
    let sql = format!(r#"SELECT "id", "name" FROM "{schema}"."guards""#);
    let rows = both.plain.query_all_raw(postgres(&sql)).await.unwrap();
    rows.iter()
        .map(|row| {
            let id = row.try_get("", "id").unwrap();
            (id, row.try_get("", "name").unwrap())
        })
        .collect()
}

#[test]
fn changes_to_two_tenants_in_turns_do_not_mix() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let both = runtime.block_on(TwoTenants::new());
    let check = async |changes: &[(bool, Change, Within)]| {
        let mut expected = [Rows::new(), Rows::new()];
        for tenant in [&both.one, &both.two] {
            guard::Entity::delete_many().exec(tenant).await.unwrap();
        }
        for (second, change, within) in changes {
            let tenant = if *second { &both.two } else { &both.one };
            if within.make(change, tenant).await.unwrap() {
                change.expect(&mut expected[usize::from(*second)]);
            }
            let found = [stored(&both, "tenant_1").await, stored(&both, "tenant_2").await];
            assert_eq!(found, expected, "after {change:?} within {within:?}");
        }
    };
    let mut cases = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(24)
    });
    let result = cases.run(&changes(), |changes| {
        runtime.block_on(check(&changes));
        Ok(())
    });
    result.unwrap();
}
