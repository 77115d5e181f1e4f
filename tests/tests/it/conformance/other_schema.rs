//! A statement on a tenant's handle that names the schema of another tenant.

use entity::{guard, shift};
use futures_util::TryStreamExt;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbErr, EntityName, EntityTrait, LoaderTrait, ModelTrait,
    PaginatorTrait, QueryOrder, Set, StreamTrait, TransactionTrait,
};
use tenantry::{Error, NewTenant, OtherSchema, assert_placeholder, without_placeholder};

use super::{
    TwoTenants,
    two_tenants::{new_guard, new_shift, postgres},
};
use crate::support::{TestDb, http_server::eventually, slug};

/// As `sea-orm-cli generate entity -s tenant_2` writes it.
mod generated {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(schema_name = "tenant_2", table_name = "guards")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        #[sea_orm(column_type = "Text")]
        pub name: String,
        #[sea_orm(column_type = "Text")]
        pub position: String,
        pub inserted_at: DateTimeUtc,
        pub updated_at: DateTimeUtc,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

#[track_caller]
fn assert_refused<T>(what: &str, result: Result<T, DbErr>) {
    let Err(error) = result else {
        panic!("{what} was not refused");
    };
    let other = OtherSchema::find(&error).unwrap_or_else(|| panic!("{what}: {error}"));
    assert_eq!(
        (other.slug.as_ref(), other.schema.as_str()),
        (Some(&slug("tenant-1")), "tenant_2"),
        "{what}"
    );
    assert!(other.to_string().contains(r#"write "@tenant" in place of"#), "{other}");
    let error = Error::from(error);
    assert!(matches!(&error, Error::OtherSchema(_)), "{error}");
}

fn zoe() -> generated::ActiveModel {
    generated::ActiveModel {
        id: Set(uuid::Uuid::now_v7()),
        name: Set("Zoe".into()),
        position: Set("Gate".into()),
        inserted_at: Set(tenantry_registry::now()),
        updated_at: Set(tenantry_registry::now()),
    }
}

#[tokio::test]
async fn an_entity_with_the_schema_of_one_tenant_is_refused_on_the_handle_of_another() {
    use generated::Entity;
    let both = TwoTenants::new().await;
    let (one, two) = (&both.one, &both.two);
    let stored = zoe().insert(two).await.unwrap();
    assert_eq!(Entity::find().count(two).await.unwrap(), 5, "it is the tenant's own");

    assert_refused("all", Entity::find().all(one).await);
    assert_refused("one", Entity::find_by_id(stored.id).one(one).await);
    assert_refused("count", Entity::find().count(one).await);
    assert_refused("page", Entity::find().paginate(one, 2).fetch_page(0).await);
    assert_refused("stream", Entity::find().stream(one).await.map(drop));
    assert_refused("insert", zoe().insert(one).await);
    assert_refused("insert_many", Entity::insert_many([zoe()]).exec(one).await);
    let mut change: generated::ActiveModel = stored.clone().into();
    change.name = Set("Zed".into());
    assert_refused("update", change.update(one).await);
    assert_refused("delete", stored.clone().delete(one).await);
    assert_refused("delete_many", Entity::delete_many().exec(one).await);
    let txn = one.begin().await.unwrap();
    assert_refused("in a transaction", Entity::find().all(&txn).await);
    // Nothing was sent, so the transaction is still usable.
    assert_eq!(guard::Entity::find().count(&txn).await.unwrap(), 3);
    txn.commit().await.unwrap();
    let txn = one.begin_with_search_path().await.unwrap();
    assert_refused("with a search path", Entity::find().all(&txn).await);
    drop(txn);
    assert_eq!(Entity::find().count(two).await.unwrap(), 5);
}

#[tokio::test]
async fn sql_that_names_the_schema_of_another_tenant_is_refused_however_it_is_written() {
    let both = TwoTenants::new().await;
    for sql in [
        "SELECT * FROM tenant_2.guards",
        "SELECT * FROM Tenant_2 /* of two */ . guards",
        r#"SELECT * FROM U&"tenant\005f2"."guards""#,
        r#"SELECT "g".* FROM "@tenant"."guards" "g", "tenant_2"."guards""#,
        r#"INSERT INTO "@tenant"."guards" SELECT * FROM "tenant_2"."guards""#,
        r#"DELETE FROM "@tenant"."guards" USING "tenant_2"."shifts""#,
        "WITH a AS (DELETE FROM tenant_2.shifts RETURNING id) SELECT count(*) FROM a",
        "TRUNCATE tenant_2.guards CASCADE",
        "DROP TABLE tenant_2.guards CASCADE",
        r#"CREATE TABLE "@tenant"."copy" AS TABLE tenant_2.guards"#,
    ] {
        assert_refused(sql, both.one.execute_raw(postgres(sql)).await);
        assert_refused(sql, both.one.query_one_raw(postgres(sql)).await);
        assert_refused(sql, both.one.query_all_raw(postgres(sql)).await);
        assert_refused(sql, both.one.execute_unprepared(sql).await);
        assert_refused(sql, both.one.stream_raw(postgres(sql)).await.map(drop));
    }
    let text = "SELECT 'tenant_2.guards' -- tenant_2.guards";
    both.one.execute_raw(postgres(text)).await.unwrap();
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn tenants_may_have_the_names_of_tables_and_aliases() {
    let both = TwoTenants::new().await;
    let (tenancy, one) = (both.tenancy(), &both.one);
    for name in ["guards", "shifts", "excluded", "r0", "a", "registry-2"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    let guards = guard::Entity::find().order_by_asc(guard::Column::Name).all(one).await.unwrap();
    assert_eq!(guards.len(), 3);
    let both_kinds = guard::Entity::find().find_also_related(shift::Entity).all(one).await.unwrap();
    assert_eq!(both_kinds.len(), 4);
    let with = guard::Entity::find().find_with_related(shift::Entity).all(one).await.unwrap();
    assert_eq!(with.len(), 3);
    guards.load_many(shift::Entity, one).await.unwrap();
    guards[0].find_related(shift::Entity).all(one).await.unwrap();
    let stored = new_guard(9, "Ina", "Moat").insert(one).await.unwrap();
    new_shift(19, 9, 3).insert(one).await.unwrap();
    let again = guard::Entity::insert(new_guard(9, "Ina", "Moat")).on_conflict(
        sea_orm::sea_query::OnConflict::column(guard::Column::Id)
            .update_column(guard::Column::Name)
            .to_owned(),
    );
    again.exec(one).await.unwrap();
    assert_eq!(
        guard::Entity::find().stream(one).await.unwrap().try_fold(0, async |n, _| Ok(n + 1)).await,
        Ok(4)
    );
    stored.delete(one).await.unwrap();
    let sql = r#"SELECT "a"."id", extract(day FROM "shifts"."starts_at") FROM "@tenant"."guards" AS "a"
        JOIN "@tenant"."shifts" ON "shifts"."guard_id" = "a"."id" ORDER BY "a"."id", "shifts"."id""#;
    assert_eq!(one.query_all_raw(postgres(sql)).await.unwrap().len(), 3);
    // And they are refused where they are schemas.
    let sql = r#"SELECT "guards"."id" FROM "guards"."guards""#;
    let error = one.query_all_raw(postgres(sql)).await.unwrap_err();
    assert_eq!(OtherSchema::find(&error).unwrap().schema, "guards");
}

#[tokio::test]
async fn tables_of_the_registry_can_be_read_through_a_handle() {
    let both = TwoTenants::new().await;
    assert_eq!(tenantry_registry::tenant::Entity::find().count(&both.one).await.unwrap(), 2);
}

#[tokio::test]
async fn the_schema_of_a_tenant_that_another_process_creates_is_known_at_once() {
    let db = TestDb::new().await;
    let (_tenancy, [one]) = db.with_tenants(["tenant-1"]).await;
    let there = db.tenancy().await;
    there.create(NewTenant::new(slug("tenant-2"))).await.unwrap();
    eventually("it is known", async || {
        let found = generated::Entity::find().all(&one).await;
        found.is_err_and(|error| OtherSchema::find(&error).is_some())
    })
    .await;
    // So are those that existed before.
    let later = db.tenancy().await.tenant(&slug("tenant-1")).await.unwrap();
    assert_refused("find", generated::Entity::find().all(&later).await);
}

#[test]
fn entities_without_the_placeholder_are_named() {
    assert_placeholder([guard::Entity.table_ref(), shift::Entity.table_ref()]);
    let tables = [guard::Entity.table_ref(), generated::Entity.table_ref()];
    assert_eq!(without_placeholder(tables.clone()), ["tenant_2.guards"]);
    let asserted = std::panic::catch_unwind(|| assert_placeholder(tables));
    let message = asserted.unwrap_err().downcast::<String>().unwrap();
    assert!(
        message.contains("tenant_2.guards; declare them with schema_name = \"@tenant\""),
        "{message}"
    );
}
