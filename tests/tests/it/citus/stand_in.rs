//! A stand-in for the catalog and the functions of Citus. It is not Citus: see the SQL.

use sea_orm::ConnectionTrait;

use crate::support::{TestDb, database::admin};

/// Installs the stand-in, and places new schemas on its nodes.
pub async fn install(db: &TestDb) {
    let plain = db.plain().await;
    plain.execute_unprepared(include_str!("stand_in.sql")).await.unwrap();
    plain.close().await.unwrap();
    admin(&format!("ALTER DATABASE {} SET citus.enable_schema_based_sharding = 'on'", db.name()))
        .await;
}

/// A database with the stand-in and a registry.
pub async fn cluster() -> TestDb {
    let db = TestDb::new().await;
    install(&db).await;
    db
}

/// Makes each move of new connections last so many seconds, half done.
pub async fn make_moves_last(db: &TestDb, seconds: f32) {
    admin(&format!("ALTER DATABASE {} SET stand_in.seconds = '{seconds}'", db.name())).await;
    let half = "INSERT INTO stand_in.progress SELECT logicalrelid, '', 0, '', 0, 8192, 4096
        FROM pg_dist_partition LIMIT 1";
    db.plain().await.execute_unprepared(half).await.unwrap();
}
