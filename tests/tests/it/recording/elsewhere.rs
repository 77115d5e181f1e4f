//! Migrations that read other schemas, where rows change between creations.

use super::*;

/// Fills a shared table unless it has rows, and copies it.
#[derive(Clone, Copy)]
struct Shares {
    /// Reads in a statement with side effects.
    odd: bool,
}

impl MigrationName for Shares {
    fn name(&self) -> &str {
        "m2_shares"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Shares {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let table = "/* check: allow outside-schema because all tenants share it */
                     CREATE TABLE IF NOT EXISTS public.plans (name text)";
        db.execute_unprepared(table).await?;
        let count = match self.odd {
            false => "SELECT count(*) FROM public.plans",
            true => "WITH all_plans AS (SELECT FROM public.plans) SELECT count(*) FROM all_plans",
        };
        let count = db.query_one_raw(statement(count)).await?;
        if count.unwrap().try_get_by_index::<i64>(0)? == 0 {
            db.execute_unprepared("INSERT INTO public.plans VALUES ('free')").await?;
        }
        let plans = "SELECT p.name FROM \"public\".plans AS p ORDER BY p.name";
        for plan in db.query_all_raw(statement(plans)).await? {
            let name: String = plan.try_get_by_index(0)?;
            let insert = format!("INSERT INTO books (title) VALUES ('{name}')");
            db.execute_unprepared(&insert).await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn rows_of_shared_table_are_read_for_each_new_tenant() {
    for odd in [false, true] {
        let db = TestDb::new().await;
        let plain = db.plain().await;
        let config = Config::new(db.url(), Chain(Shares { odd }));
        let tenancy = Tenancy::connect(&config).await.unwrap();
        tenancy.create(NewTenant::new(slug("first"))).await.unwrap();
        tenancy.create(NewTenant::new(slug("second"))).await.unwrap();
        assert_eq!(texts(&plain, "SELECT name FROM public.plans").await, ["free"]);
        texts(&plain, "INSERT INTO public.plans VALUES ('gold')").await;
        tenancy.create(NewTenant::new(slug("third"))).await.unwrap();
        let titles = "SELECT title FROM third.books ORDER BY title";
        assert_eq!(texts(&plain, titles).await, ["free", "gold"]);
        assert_eq!(texts(&plain, "SELECT name FROM public.plans").await, ["free", "gold"]);
        tenancy.close().await;
    }
}

/// Does more for one tenant, by the name of its schema.
#[derive(Clone, Copy)]
struct Favours;

impl MigrationName for Favours {
    fn name(&self) -> &str {
        "m2_favours"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Favours {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let row = db.query_one_raw(statement("SELECT current_schema() = 'demo'")).await?;
        if row.unwrap().try_get_by_index(0)? {
            db.execute_unprepared("INSERT INTO books (title) VALUES ('demo')").await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn migration_that_reads_the_schema_name_gets_that_of_each_new_tenant() {
    let db = TestDb::new().await;
    let plain = db.plain().await;
    let tenancy = Tenancy::connect(&Config::new(db.url(), Chain(Favours))).await.unwrap();
    for name in ["first", "demo", "third"] {
        tenancy.create(NewTenant::new(slug(name))).await.unwrap();
    }
    for (schema, expected) in [("first", "0"), ("demo", "1"), ("third", "0")] {
        let count = format!("SELECT count(*)::text FROM {schema}.books");
        assert_eq!(texts(&plain, &count).await, [expected], "{schema}");
    }
}
