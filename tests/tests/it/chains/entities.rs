//! Entities of tenants in migrations, and rows of every type.

use futures_util::TryStreamExt;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, PaginatorTrait,
    QueryOrder, QuerySelect, Schema, Set, Statement, TransactionTrait, entity::prelude::*,
};
use sea_orm_migration::prelude::*;

use super::{Chain, Migrations, first, ways::works_everywhere};

mod customer {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(schema_name = "@tenant", table_name = "customers")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub city: Option<String>,
        pub born_at: Option<DateTimeWithTimeZone>,
        pub notes: Option<Json>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// SeaORM's documented way to create and seed a table.
struct Seeds;

impl MigrationName for Seeds {
    fn name(&self) -> &str {
        "m2_seeds"
    }
}

const BORN: &str = "1999-12-31T23:00:00+01:00";

#[async_trait::async_trait]
impl MigrationTrait for Seeds {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let mut table = Schema::new(DbBackend::Postgres).create_table_from_entity(customer::Entity);
        manager.create_table(table.take()).await?;
        for (number, name) in ["Ann", "Bob"].into_iter().enumerate() {
            let model = customer::ActiveModel {
                id: Set(Uuid::from_u128(number as u128)),
                name: Set(name.to_owned()),
                city: Set((number == 0).then(|| "Zurich".to_owned())),
                born_at: Set(Some(BORN.parse().unwrap())),
                notes: Set(Some(serde_json::json!({ "\"@tenant\"": number }))),
            };
            let stored = model.insert(db).await?;
            assert_eq!(stored.born_at, Some(BORN.parse().unwrap()));
        }
        let third = customer::ActiveModel {
            id: Set(Uuid::from_u128(2)),
            name: Set("Cleo".to_owned()),
            ..Default::default()
        };
        customer::Entity::insert_many([third]).exec(db).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let customers = customer::Entity::find().all(manager.get_connection()).await?;
        assert_eq!(customers.len(), 3);
        manager.drop_table(Table::drop().table(customer::Entity.table_ref()).take()).await
    }
}

/// Reads by name and by position, as JSON, as a stream; changes through models.
struct Reads;

impl MigrationName for Reads {
    fn name(&self) -> &str {
        "m3_reads"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Reads {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        use customer::{Column, Entity};
        let db = manager.get_connection();
        assert!(manager.has_table("customers").await? && !manager.has_table("clients").await?);
        assert!(manager.has_column("customers", "city").await?);
        assert!(!manager.has_column("customers", "town").await?);
        // Not in alphabetical order.
        let pairs: Vec<(String, Option<String>, Uuid)> = Entity::find()
            .select_only()
            .columns([Column::Name, Column::City, Column::Id])
            .order_by_asc(Column::Id)
            .into_tuple()
            .all(db)
            .await?;
        assert_eq!(pairs[0], ("Ann".to_owned(), Some("Zurich".to_owned()), Uuid::nil()));
        assert_eq!(Entity::find().count(db).await?, 3);
        let json = Entity::find().order_by_asc(Column::Id).into_json().one(db).await?.unwrap();
        assert_eq!(json["name"], "Ann");
        assert_eq!(json.as_object().unwrap().len(), 5);
        let two = "SELECT 1 AS same, 2 AS same, NULL AS nothing";
        let row =
            db.query_one_raw(Statement::from_string(DbBackend::Postgres, two)).await?.unwrap();
        assert_eq!(row.column_names(), ["same", "same", "nothing"]);
        assert_eq!((row.try_get_by_index::<i32>(0)?, row.try_get_by_index::<i32>(1)?), (1, 2));
        assert_eq!(row.try_get::<Option<Uuid>>("", "nothing")?, None);
        let inner = db.begin().await?;
        let named: Vec<customer::Model> = Entity::find()
            .filter(Column::BornAt.eq(DateTimeWithTimeZone::parse_from_rfc3339(BORN).unwrap()))
            .stream(&inner)
            .await?
            .try_collect()
            .await?;
        assert_eq!(named.len(), 2);
        for customer in named {
            let notes = customer.notes.clone();
            let mut customer: customer::ActiveModel = customer.into();
            customer.name = Set(format!("{:?} {}", customer.name.as_ref(), notes.unwrap()));
            customer.update(&inner).await?;
        }
        inner.commit().await?;
        let undone = db.begin().await?;
        Entity::delete_many().exec(&undone).await?;
        undone.rollback().await
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

/// A row of every type that PostgreSQL has and SeaORM reads, and of some that it does not.
struct Types;

impl MigrationName for Types {
    fn name(&self) -> &str {
        "m4_types"
    }
}

#[derive(Debug, FromQueryResult)]
struct Typed {
    a_bool: bool,
    a_small: i16,
    an_int: i32,
    a_big: i64,
    a_float: f32,
    a_double: f64,
    a_text: String,
    a_name: String,
    a_bytes: Vec<u8>,
    a_uuid: Uuid,
    a_json: Json,
    a_date: Date,
    a_time: Time,
    a_timestamp: DateTime,
    a_utc: DateTimeUtc,
    a_zoned: DateTimeWithTimeZone,
    a_local: DateTimeLocal,
    an_oid: u32,
}

#[async_trait::async_trait]
impl MigrationTrait for Types {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let text = "SELECT true AS a_bool, 1::int2 AS a_small, 2 AS an_int, 3::int8 AS a_big,
            4.5::float4 AS a_float, 5.5::float8 AS a_double, 'six'::varchar AS a_text,
            'seven'::name AS a_name, '\\x08'::bytea AS a_bytes, gen_random_uuid() AS a_uuid,
            '{\"nine\": 9}'::jsonb AS a_json, '2010-10-10'::date AS a_date, '11:11'::time AS a_time,
            '2012-12-12 12:12'::timestamp AS a_timestamp, now() AS a_utc, now() AS a_zoned,
            now() AS a_local, 13::oid AS an_oid,
            -- What SeaORM has no type for is not converted until it is read.
            '1.5'::numeric AS a_numeric, '(1,2)'::point AS a_point, '1 day'::interval AS a_span,
            '12:00+02'::timetz AS a_timetz, B'101' AS bits, '$1.00'::money AS a_price,
            '<a/>'::xml AS an_xml, '127.0.0.1'::inet AS an_address, '08:00:2b:01:02:03'::macaddr AS a_mac,
            int4range(1, 2) AS a_range, '{1,2}'::int[] AS numbers, '{{a},{b}}'::text[] AS matrix,
            'a b'::tsvector AS a_vector, ROW(1, 'a') AS a_row, 'pg_class'::regclass AS a_class,
            '0/1'::pg_lsn AS a_place, 'c'::\"char\" AS a_char, 'x'::char(3) AS padded,
            '$.a'::jsonpath AS a_path, NULL::point AS no_point, NULL::text AS no_text";
        let statement = || Statement::from_string(DbBackend::Postgres, text);
        let row = db.query_one_raw(statement()).await?.unwrap();
        let typed = Typed::from_query_result(&row, "")?;
        assert_eq!(typed.a_zoned.timestamp(), typed.a_utc.timestamp());
        assert_eq!(typed.a_local.timestamp(), typed.a_utc.timestamp());
        assert_eq!(typed.a_time.to_string(), "11:11:00");
        assert_eq!(row.try_get::<Vec<i32>>("", "numbers")?, [1, 2]);
        assert_eq!(row.try_get::<String>("", "padded")?.trim(), "x");
        assert_eq!(row.try_get::<Option<String>>("", "no_text")?, None);
        // A value of another type is an error, not NULL.
        row.try_get::<Option<i32>>("", "a_text").unwrap_err();
        assert_eq!(db.query_all_raw(statement()).await?.len(), 1);
        let label = format!(
            "{}{}{}{}{}{}{}{}{:?}{}{}{}{}",
            typed.a_bool,
            typed.a_small,
            typed.an_int,
            typed.a_big,
            typed.a_float,
            typed.a_double,
            typed.a_text,
            typed.a_name,
            typed.a_bytes,
            typed.a_json,
            typed.a_date,
            typed.a_timestamp,
            typed.an_oid
        );
        assert_eq!(typed.a_uuid.get_version_num(), 4);
        let insert = Query::insert()
            .into_table("books")
            .columns(["isbn", "title"])
            .values_panic(["types".into(), label.into()])
            .take();
        db.execute(&insert).await.map(drop)
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

fn seeds() -> Migrations {
    vec![first(), Box::new(Seeds), Box::new(Reads), Box::new(Types)]
}

#[tokio::test]
async fn entities_with_the_placeholder_and_rows_of_every_type_do_the_same_everywhere() {
    let probe = "SELECT id || ' ' || name FROM customers
                 UNION ALL SELECT isbn || ' ' || title FROM books ORDER BY 1";
    let rows = [
        "00000000-0000-0000-0000-000000000000 \"Ann\" {\"\\\"@tenant\\\"\":0}",
        "00000000-0000-0000-0000-000000000001 \"Bob\" {\"\\\"@tenant\\\"\":1}",
        "00000000-0000-0000-0000-000000000002 Cleo",
        "types true1234.55.5sixseven[8]{\"nine\":9}2010-10-102012-12-12 12:12:0013",
    ];
    works_everywhere(Chain::new(seeds), probe, &rows).await;
}
