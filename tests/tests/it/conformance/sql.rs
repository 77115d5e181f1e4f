//! SQL by hand: statements of `sea_query`, and raw text with the placeholder.

use entity::{guard, shift};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityName, EntityTrait, ExprTrait, FromQueryResult,
    JsonValue, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, SelectExt,
    Statement, TransactionTrait, raw_sql,
    sea_query::{
        Asterisk, CommonTableExpression, Expr, Query, SelectStatement, UnionType, WithClause,
    },
};
use serde_json::json;
use tenantry::{Misuse, Tenant};

use super::{
    TwoTenants, guard_id, shift_id, sqlstate,
    two_tenants::{names, postgres},
};

/// Names of the guards at a position.
fn names_at(position: &str) -> SelectStatement {
    Query::select()
        .column(guard::Column::Name)
        .from(guard::Entity.table_ref())
        .and_where(Expr::col(guard::Column::Position).eq(position))
        .to_owned()
}

/// The first column of what a statement finds, sorted.
async fn texts(tenant: &Tenant, statement: &impl sea_orm::StatementBuilder) -> Vec<String> {
    let rows = tenant.query_all(statement).await.unwrap();
    let texts = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts
}

#[tokio::test]
async fn common_table_expressions_stay_in_one_tenant() {
    let both = TwoTenants::new().await;
    let on_duty = CommonTableExpression::new()
        .query(
            Query::select()
                .column(shift::Column::GuardId)
                .distinct()
                .from(shift::Entity.table_ref())
                .to_owned(),
        )
        .column("busy")
        .table_name("on_duty")
        .to_owned();
    let query = Query::select()
        .column(guard::Column::Name)
        .from(guard::Entity.table_ref())
        .inner_join("on_duty", Expr::col("busy").equals(guard::Column::Id))
        .to_owned()
        .with(WithClause::new().cte(on_duty).to_owned());
    assert_eq!(texts(&both.one, &query).await, ["Abu", "Bea"]);
    assert_eq!(texts(&both.two, &query).await, ["Wim", "Yan", "Zoe"]);
}

#[tokio::test]
async fn sub_queries_and_unions_stay_in_one_tenant() {
    let both = TwoTenants::new().await;
    let busy = shift::Entity::find().select_only().column(shift::Column::GuardId).into_query();
    let idle = guard::Entity::find()
        .filter(guard::Column::Id.not_in_subquery(busy))
        .order_by_asc(guard::Column::Id);
    assert_eq!(names(&idle.clone().all(&both.one).await.unwrap()), ["Cem"]);
    assert_eq!(names(&idle.all(&both.two).await.unwrap()), ["Xia"]);

    let union = names_at("Gate").union(UnionType::All, names_at("Tower")).to_owned();
    assert_eq!(texts(&both.one, &union).await, ["Abu", "Bea", "Cem"]);
    let from_sub_query =
        Query::select().column(Asterisk).from_subquery(names_at("Gate"), "at_gate").to_owned();
    assert_eq!(texts(&both.one, &from_sub_query).await, ["Abu", "Bea"]);
    assert_eq!(texts(&both.two, &from_sub_query).await, ["Yan"]);
}

#[tokio::test]
async fn statements_made_by_hand_write_to_one_tenant() {
    let both = TwoTenants::new().await;
    let copied = Query::select()
        .expr(Expr::cust("gen_random_uuid()"))
        .expr(Expr::cust(r#""name" || '''s deputy'"#))
        .columns([guard::Column::Position, guard::Column::InsertedAt, guard::Column::UpdatedAt])
        .from(guard::Entity.table_ref())
        .and_where(Expr::col(guard::Column::Position).eq("Gate"))
        .to_owned();
    let copy = Query::insert()
        .into_table(guard::Entity.table_ref())
        .columns([
            guard::Column::Id,
            guard::Column::Name,
            guard::Column::Position,
            guard::Column::InsertedAt,
            guard::Column::UpdatedAt,
        ])
        .select_from(copied)
        .unwrap()
        .to_owned();
    assert_eq!(both.one.execute(&copy).await.unwrap().rows_affected(), 2);
    let promote = Query::update()
        .table(guard::Entity.table_ref())
        .value(guard::Column::Position, "Tower")
        .and_where(Expr::col(guard::Column::Name).like("%deputy"))
        .to_owned();
    both.one.execute(&promote).await.unwrap();
    assert_eq!(texts(&both.one, &names_at("Tower")).await, ["Abu's deputy", "Bea's deputy", "Cem"]);
    let dismiss = Query::delete()
        .from_table(guard::Entity.table_ref())
        .and_where(Expr::col(guard::Column::Position).eq("Tower"))
        .returning_col(guard::Column::Name)
        .to_owned();
    assert_eq!(texts(&both.one, &dismiss).await.len(), 3);
    assert_eq!(texts(&both.one, &names_at("Gate")).await, ["Abu", "Bea"]);
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn raw_sql_with_the_placeholder_reads_one_tenant() {
    let both = TwoTenants::new().await;
    let by_position = Statement::from_sql_and_values(
        DbBackend::Postgres,
        r#"SELECT * FROM "@tenant"."guards" WHERE "position" = $1 ORDER BY "name" DESC"#,
        ["Gate".into()],
    );
    let at_gate = || guard::Entity::find().from_raw_sql(by_position.clone());
    assert_eq!(names(&at_gate().all(&both.one).await.unwrap()), ["Bea", "Abu"]);
    assert_eq!(at_gate().count(&both.one).await.unwrap(), 2);
    assert!(at_gate().exists(&both.one).await.unwrap());
    let second = at_gate().paginate(&both.one, 1).fetch_page(1).await.unwrap();
    assert_eq!(names(&second), ["Abu"]);
    let as_json = JsonValue::find_by_statement(by_position.clone());
    let as_json = as_json.one(&both.two).await.unwrap().unwrap();
    assert_eq!(as_json["name"], json!("Yan"));
    let row = both.one.query_one_raw(by_position).await.unwrap().unwrap();
    assert_eq!(row.try_get::<String>("", "name").unwrap(), "Bea");

    let (id, days) = (guard_id(1), [1, 2, 3]);
    let shifts = raw_sql!(
        Postgres,
        r#"SELECT "s".* FROM "@tenant"."shifts" AS "s"
            JOIN "@tenant"."guards" AS "g" ON "g"."id" = "s"."guard_id"
            WHERE "g"."id" = {id} AND extract(day FROM "s"."starts_at") IN ({..days})
            ORDER BY "s"."id""#
    );
    let found = shift::Model::find_by_statement(shifts.clone());
    let found = found.all(&both.one).await.unwrap();
    let ids: Vec<_> = found.iter().map(|shift| shift.id).collect();
    assert_eq!(ids, [shift_id(11), shift_id(12)]);
    let found = shift::Model::find_by_statement(shifts);
    assert!(found.all(&both.two).await.unwrap().is_empty());
}

#[tokio::test]
async fn raw_sql_with_the_placeholder_writes_to_one_tenant() {
    let both = TwoTenants::new().await;
    let rename = Statement::from_sql_and_values(
        DbBackend::Postgres,
        r#"UPDATE "@tenant"."guards" SET "name" = $1 WHERE "id" = $2"#,
        ["Ada".into(), guard_id(1).into()],
    );
    let result = both.one.execute_raw(rename).await.unwrap();
    assert_eq!(result.rows_affected(), 1);
    // Several statements in one text, quotes of every kind between them.
    let script = r#"
        DELETE FROM "@tenant"."shifts" WHERE "guard_id" IN
            (SELECT "id" FROM "@tenant"."guards" WHERE "name" = 'Ada'); -- "@tenant"."guards"
        /* "@tenant" /* "@tenant" */ */ UPDATE "@tenant"."guards" SET "position" = $$Moat$$
            WHERE "name" <> E'\'"@tenant"' AND "position" = 'Tower';"#;
    both.one.execute_unprepared(script).await.unwrap();
    let counted = r#"WITH "gone" AS (DELETE FROM "@tenant"."guards" WHERE "name" = 'Bea'
        RETURNING "id") SELECT count(*) FROM "gone""#;
    let row = both.one.query_one_raw(postgres(counted)).await.unwrap();
    assert_eq!(row.unwrap().try_get_by_index::<i64>(0).unwrap(), 1);

    let expected = [("Ada", "Gate"), ("Cem", "Moat")].map(|(a, b)| (a.into(), b.into()));
    assert_eq!(both.guards_of_one().await, expected);
    assert!(both.shifts_of_one().await.is_empty());
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn a_placeholder_in_a_literal_or_a_comment_is_left_as_it_is() {
    let both = TwoTenants::new().await;
    let sql = r#"SELECT '"@tenant"."guards"' AS "a", E'\'"@tenant"' AS "b", $x$"@tenant"$x$ AS "c",
        "name" AS "d@tenant", "g"."id" AS """@tenant""" /* "@tenant" */
        FROM "@tenant"."guards" AS "g" WHERE "name" = 'Abu' -- "@tenant""#;
    let row = both.one.query_one_raw(postgres(sql)).await.unwrap().unwrap();
    assert_eq!(row.column_names(), ["a", "b", "c", "d@tenant", "\"@tenant\""]);
    let texts: [String; 4] = [0, 1, 2, 3].map(|at| row.try_get_by_index(at).unwrap());
    assert_eq!(texts, [r#""@tenant"."guards""#, r#"'"@tenant""#, r#""@tenant""#, "Abu"]);
}

#[tokio::test]
async fn a_placeholder_in_a_string_that_postgresql_reads_as_a_name_is_reported() {
    let both = TwoTenants::new().await;
    both.one
        .execute_unprepared(
            r#"CREATE FUNCTION "@tenant".late() RETURNS bigint LANGUAGE plpgsql AS
               $$ BEGIN RETURN (SELECT count(*) FROM "@tenant".guards); END $$;
               CREATE SEQUENCE "@tenant".numbers"#,
        )
        .await
        .unwrap();
    for sql in [
        r#"SELECT nextval('"@tenant".numbers')"#,
        r#"SELECT setval(E'"@tenant".numbers', 5)"#,
        r#"SELECT '"@tenant".guards'::regclass::text"#,
        r#"SELECT '"@tenant".mood'::regtype::text"#,
        r#"SELECT pg_get_serial_sequence('"@tenant".guards', 'id')"#,
        r#"DO $$ BEGIN DELETE FROM "@tenant".guards; END $$"#,
        r#"DO $$ BEGIN EXECUTE 'DELETE FROM "@tenant".guards'; END $$"#,
        r#"SELECT "@tenant".late()"#,
    ] {
        let error = both.one.execute_unprepared(sql).await.unwrap_err();
        let Some(Misuse::PlaceholderInString { message }) = Misuse::find(&error) else {
            panic!("{sql}: {error}");
        };
        assert!(message.contains("@tenant"), "{sql}: {message}");
        both.one.execute_raw(postgres(sql)).await.unwrap_err();
        let txn = both.one.begin().await.unwrap();
        let error = txn.execute_unprepared(sql).await.unwrap_err();
        assert!(Misuse::find(&error).is_some(), "{sql}: {error}");
    }
    // The ways that the error names.
    let next = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT nextval(format('%I.%I', $1, $2)::regclass)",
        [both.one.schema().as_str().into(), "numbers".into()],
    );
    both.one.query_one_raw(next).await.unwrap().unwrap();
    let txn = both.one.begin_with_search_path().await.unwrap();
    txn.execute_unprepared("SELECT nextval('numbers')").await.unwrap();
    // Data is not a name.
    let error = both.one.execute_unprepared(r#"SELECT "bob@tenant.com""#).await.unwrap_err();
    assert_eq!((Misuse::find(&error), sqlstate(&error).as_str()), (None, "42703"));
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn a_statement_without_the_schema_is_refused() {
    let both = TwoTenants::new().await;
    let select = Query::select().column(Asterisk).from(guard::Entity).to_owned();
    let error = both.one.query_all(&select).await.unwrap_err();
    assert_eq!(sqlstate(&error), "42P01");
}
