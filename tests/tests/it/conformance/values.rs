//! Values that look like SQL are stored and read byte for byte.

use entity::guard;
use proptest::{prelude::*, test_runner::TestRunner};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, Statement,
};

use super::{TwoTenants, guard_id, two_tenants::new_guard};

/// Texts that could break a statement or be mistaken for one.
const HOSTILE: [&str; 16] = [
    r#""@tenant""#,
    r#""@tenant"."guards""#,
    r#"'"@tenant"'"#,
    "@tenant",
    "tenant_2",
    "'; DROP SCHEMA tenant_2 CASCADE; --",
    "$$",
    "$x$ $1 $2",
    "-- a comment",
    "/* a comment /* in a comment */",
    r"\",
    r"\'\\''",
    "a\nb\r\n\tc",
    "? :name {id} %s",
    "💂 Gärdé \u{202e} \u{feff}",
    "",
];

/// Stores a guard with this name in tenant one, and reads it back in three ways.
async fn round_trip(both: &TwoTenants, name: &str) {
    let one = &both.one;
    let last = guard::Entity::delete_by_id(guard_id(5));
    last.exec(one).await.unwrap();
    let stored = new_guard(5, name, name).insert(one).await.unwrap();
    assert_eq!(stored.name, name);
    let by_name = guard::Entity::find().filter(guard::Column::Name.eq(name));
    assert_eq!(by_name.one(one).await.unwrap().as_ref(), Some(&stored));
    let raw = Statement::from_sql_and_values(
        DbBackend::Postgres,
        r#"SELECT convert_to("position", 'UTF8') FROM "@tenant"."guards" WHERE "name" = $1"#,
        [name.into()],
    );
    let row = one.query_one_raw(raw).await.unwrap().unwrap();
    let bytes: Vec<u8> = row.try_get_by_index(0).unwrap();
    assert_eq!(bytes, name.as_bytes());
}

#[tokio::test]
async fn hostile_values_are_stored_and_read_byte_for_byte() {
    let both = TwoTenants::new().await;
    for name in HOSTILE {
        round_trip(&both, name).await;
    }
    let together = HOSTILE.join("");
    round_trip(&both, &together).await;
    both.assert_two_is_untouched().await;
}

#[tokio::test]
async fn hostile_values_written_into_the_text_of_a_statement_are_left_as_they_are() {
    let both = TwoTenants::new().await;
    for name in HOSTILE {
        // `Statement::to_string` and migrations write values as literals.
        let plain = name.replace('\'', "''");
        let escaped = plain.replace('\\', r"\\");
        let sql = format!(
            r#"UPDATE "@tenant"."guards" SET "name" = '{plain}', "position" = E'{escaped}'"#
        );
        both.one.execute_unprepared(&sql).await.unwrap();
        for guard in guard::Entity::find().all(&both.one).await.unwrap() {
            assert_eq!((&*guard.name, &*guard.position), (name, name));
        }
    }
    both.assert_two_is_untouched().await;
}

#[test]
fn any_text_is_stored_and_read_byte_for_byte() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let both = runtime.block_on(TwoTenants::new());
    let piece = prop_oneof![
        proptest::sample::select(&HOSTILE[..]).prop_map(str::to_owned),
        // PostgreSQL stores no NUL in text (manual, 8.3).
        any::<String>().prop_map(|text| text.replace('\0', "")),
    ];
    let name = proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat());
    let mut cases = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(32)
    });
    let result = cases.run(&name, |name| {
        runtime.block_on(round_trip(&both, &name));
        Ok(())
    });
    result.unwrap();
    runtime.block_on(both.assert_two_is_untouched());
}
