//! Numbers that SQL writes in quotes.

use sea_orm::{ConnectionTrait, DbBackend, Statement, Value, sea_query::ArrayType};
use sea_orm_migration::prelude::*;

use super::{Chain, Migrations, first, ways::works_everywhere};

struct Floats;

impl MigrationName for Floats {
    fn name(&self) -> &str {
        "m2_floats"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Floats {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared(
            "CREATE TABLE floats (id serial, one float4, two float8, many float8[])",
        )
        .await?;
        let many = [1.5, f64::NAN, -2e300].map(Value::from).into();
        let values = [
            f32::NAN.into(),
            f64::NEG_INFINITY.into(),
            Value::Array(ArrayType::Double, Some(Box::new(many))),
        ];
        let insert = "INSERT INTO floats (one, two, many) VALUES ($1, $2, $3)";
        let insert = Statement::from_sql_and_values(DbBackend::Postgres, insert, values);
        db.execute_raw(insert).await?;
        let insert = "INSERT INTO floats (one, two) VALUES ($1, $2)";
        let values = [f32::INFINITY.into(), 0.1.into()];
        let insert = Statement::from_sql_and_values(DbBackend::Postgres, insert, values);
        db.execute_raw(insert).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP TABLE floats").await.map(drop)
    }
}

#[tokio::test]
async fn numbers_that_are_not_finite_are_the_same_everywhere() {
    fn floats() -> Migrations {
        vec![first(), Box::new(Floats)]
    }
    let probe = "SELECT concat_ws(' ', one, two, many) FROM floats ORDER BY id";
    let rows = ["NaN -Infinity {1.5,NaN,-2e+300}", "Infinity 0.1"];
    works_everywhere(Chain::new(floats), probe, &rows).await;
}
