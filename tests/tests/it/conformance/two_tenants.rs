//! Two tenants with different rows under the same keys.

use chrono::{DateTime, TimeZone, Utc};
use entity::{guard, shift};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, RuntimeErr, Set, Statement, sqlx,
};
use tenantry::{Config, NewTenant, Tenancy, Tenant};
use uuid::Uuid;

use crate::support::{TestDb, route::Route, slug};

/// Guards: key, name, position.
const GUARDS_OF_ONE: [(u128, &str, &str); 3] =
    [(1, "Abu", "Gate"), (2, "Bea", "Gate"), (3, "Cem", "Tower")];
const GUARDS_OF_TWO: [(u128, &str, &str); 4] =
    [(1, "Xia", "Tower"), (2, "Yan", "Gate"), (3, "Zoe", "Tower"), (4, "Wim", "Moat")];

/// Shifts: key, guard, day of January 2024.
const SHIFTS_OF_ONE: [(u128, u128, u32); 3] = [(11, 1, 1), (12, 1, 2), (13, 2, 3)];
const SHIFTS_OF_TWO: [(u128, u128, u32); 4] = [(11, 3, 11), (12, 2, 12), (13, 3, 13), (14, 4, 14)];

/// The tenants `one` and `two`, in `tenant_1` and `tenant_2`.
pub struct TwoTenants {
    pub one: Tenant,
    pub two: Tenant,
    /// A plain connection, to inspect the schemas from outside.
    pub plain: DatabaseConnection,
    two_at_first: Vec<String>,
    tenancy: Tenancy,
    _route: Route,
    /// Last, since the database is dropped with it.
    _db: TestDb,
}

impl TwoTenants {
    pub async fn new() -> Self {
        Self::with_config(|config| config).await
    }

    /// Two tenants with another configuration.
    pub async fn with_config(change: impl FnOnce(Config) -> Config) -> Self {
        let db = TestDb::new().await;
        let route = Route::of_process().await;
        let tenancy = Tenancy::connect(&change(route.config(&db))).await.unwrap();
        let plain = db.plain().await;
        let mut tenants = Vec::new();
        for name in ["tenant-1", "tenant-2"] {
            tenancy.create(NewTenant::new(slug(name))).await.unwrap();
            tenants.push(tenancy.tenant(&slug(name)).await.unwrap());
        }
        let [one, two] = tenants.try_into().unwrap();
        fill(&plain, "tenant_1", &GUARDS_OF_ONE, &SHIFTS_OF_ONE).await;
        fill(&plain, "tenant_2", &GUARDS_OF_TWO, &SHIFTS_OF_TWO).await;
        let two_at_first = rows(&plain, "tenant_2").await;
        Self { one, two, two_at_first, plain, tenancy, _route: route, _db: db }
    }

    pub fn tenancy(&self) -> &Tenancy {
        &self.tenancy
    }

    /// Asserts that tenant two is unchanged, byte for byte.
    pub async fn assert_two_is_untouched(&self) {
        assert_eq!(rows(&self.plain, "tenant_2").await, self.two_at_first);
    }

    /// Guards of tenant one as a bare connection finds them in `tenant_1`: name and position.
    pub async fn guards_of_one(&self) -> Vec<(String, String)> {
        let sql = r#"SELECT "name", "position" FROM "tenant_1"."guards" ORDER BY "id""#;
        let found = self.plain.query_all_raw(postgres(sql)).await.unwrap();
        found
            .iter()
            .map(|row| row.try_get_many("", &["name", "position"].map(str::to_owned)).unwrap())
            .collect()
    }

    /// Shifts of tenant one as a bare connection finds them in `tenant_1`: key, guard and day.
    pub async fn shifts_of_one(&self) -> Vec<(Uuid, Uuid, i32)> {
        let sql = r#"SELECT "id", "guard_id", extract(day FROM "starts_at" AT TIME ZONE 'UTC')::int4
            AS "day" FROM "tenant_1"."shifts" ORDER BY "starts_at", "id""#;
        let found = self.plain.query_all_raw(postgres(sql)).await.unwrap();
        found
            .iter()
            .map(|row| row.try_get_many("", &["id", "guard_id", "day"].map(str::to_owned)).unwrap())
            .collect()
    }
}

/// Every column of every row of a schema, as text.
async fn rows(plain: &DatabaseConnection, schema: &str) -> Vec<String> {
    let sql = format!(
        r#"SELECT r FROM (SELECT g::text AS r, 1 AS n, g."id" AS i FROM "{schema}"."guards" g
            UNION ALL SELECT s::text, 2, s."id" FROM "{schema}"."shifts" s) t ORDER BY n, i"#
    );
    let found = plain.query_all_raw(postgres(&sql)).await.unwrap();
    found.iter().map(|row| row.try_get("", "r").unwrap()).collect()
}

/// Inserts rows from outside, so that no test relies on the handle that it tests.
async fn fill(
    plain: &DatabaseConnection,
    schema: &str,
    guards: &[(u128, &str, &str)],
    shifts: &[(u128, u128, u32)],
) {
    let written = written().to_rfc3339();
    for (id, name, position) in guards {
        let id = guard_id(*id);
        let sql = format!(
            r#"INSERT INTO "{schema}"."guards" VALUES
                ('{id}', '{name}', '{position}', '{written}', '{written}')"#
        );
        plain.execute_unprepared(&sql).await.unwrap();
    }
    for (id, guard, day) in shifts {
        let (id, guard) = (shift_id(*id), guard_id(*guard));
        let (starts, ends) = (on_day(*day).to_rfc3339(), ends_on_day(*day).to_rfc3339());
        let sql = format!(
            r#"INSERT INTO "{schema}"."shifts" VALUES
                ('{id}', '{guard}', '{starts}', '{ends}', '{written}', '{written}')"#
        );
        plain.execute_unprepared(&sql).await.unwrap();
    }
}

/// Key of the guard with this number, the same in both tenants.
pub fn guard_id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Key of the shift with this number, the same in both tenants.
pub fn shift_id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// When the rows of the two tenants were stored.
pub fn written() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2023, 12, 31, 12, 0, 0).unwrap()
}

/// When a shift on this day of January 2024 starts.
pub fn on_day(day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2024, 1, day, 8, 0, 0).unwrap()
}

/// When a shift on this day of January 2024 ends.
pub fn ends_on_day(day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2024, 1, day, 16, 0, 0).unwrap()
}

/// A guard to insert.
pub fn new_guard(number: u128, name: &str, position: &str) -> guard::ActiveModel {
    guard::ActiveModel {
        id: Set(guard_id(number)),
        name: Set(name.to_owned()),
        position: Set(position.to_owned()),
        ..Default::default()
    }
}

/// A shift to insert.
pub fn new_shift(number: u128, guard: u128, day: u32) -> shift::ActiveModel {
    shift::ActiveModel {
        id: Set(shift_id(number)),
        guard_id: Set(guard_id(guard)),
        starts_at: Set(on_day(day)),
        ends_at: Set(ends_on_day(day)),
        ..Default::default()
    }
}

/// A statement without values.
pub fn postgres(sql: &str) -> Statement {
    Statement::from_string(DbBackend::Postgres, sql)
}

/// The names of guards, in their order.
pub fn names(guards: &[guard::Model]) -> Vec<&str> {
    guards.iter().map(|guard| guard.name.as_str()).collect()
}

/// Code and message with which PostgreSQL refused a statement.
pub fn refusal(error: &DbErr) -> (String, String) {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) =
        error
    else {
        panic!("not an answer of the server: {error:?}");
    };
    let sqlx::Error::Database(cause) = cause.as_ref() else {
        panic!("not an answer of the server: {error:?}");
    };
    let code = cause.code().unwrap_or_default().into_owned();
    (code, cause.message().to_owned())
}

/// Code with which PostgreSQL refused a statement.
pub fn sqlstate(error: &DbErr) -> String {
    refusal(error).0
}
