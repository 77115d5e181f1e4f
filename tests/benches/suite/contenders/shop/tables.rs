//! The shop's tables and rows.

use sea_orm::ConnectionTrait;
use sea_orm_migration::{MigratorTraitSelf, prelude::*};
use tenantry::TenantTransaction;
use tenantry_migrate::TenantMigrator;

use crate::contenders::job::BOSSES;

/// Without a table for long values beside each, which no row here needs.
const CREATE: &str = "
    CREATE TABLE customers (id uuid CONSTRAINT customers_pkey PRIMARY KEY,
        name varchar(100) NOT NULL, email varchar(100) NOT NULL, active bool NOT NULL,
        credit int NOT NULL, inserted_at timestamptz NOT NULL);
    CREATE TABLE products (id uuid CONSTRAINT products_pkey PRIMARY KEY,
        name varchar(100) NOT NULL, price int NOT NULL, stock int NOT NULL, active bool NOT NULL,
        updated_at timestamptz NOT NULL);
    CREATE TABLE orders (id uuid CONSTRAINT orders_pkey PRIMARY KEY,
        customer_id uuid NOT NULL CONSTRAINT orders_customer_id_fkey REFERENCES customers,
        status varchar(20) NOT NULL, total int NOT NULL, placed_at timestamptz NOT NULL);
    CREATE INDEX orders_customer_id_idx ON orders (customer_id);
    CREATE TABLE order_lines (id uuid CONSTRAINT order_lines_pkey PRIMARY KEY,
        order_id uuid NOT NULL CONSTRAINT order_lines_order_id_fkey REFERENCES orders,
        product_id uuid NOT NULL CONSTRAINT order_lines_product_id_fkey REFERENCES products,
        quantity int NOT NULL, price int NOT NULL);
    CREATE INDEX order_lines_order_id_idx ON order_lines (order_id);
    CREATE TABLE invoices (id uuid CONSTRAINT invoices_pkey PRIMARY KEY,
        order_id uuid NOT NULL CONSTRAINT invoices_order_id_fkey REFERENCES orders,
        number int NOT NULL, sent bool NOT NULL, due_at timestamptz NOT NULL);
    CREATE INDEX invoices_order_id_idx ON invoices (order_id);
    CREATE TABLE payments (id uuid CONSTRAINT payments_pkey PRIMARY KEY,
        invoice_id uuid NOT NULL CONSTRAINT payments_invoice_id_fkey REFERENCES invoices,
        amount int NOT NULL, method varchar(20) NOT NULL, paid_at timestamptz NOT NULL);
    CREATE INDEX payments_invoice_id_idx ON payments (invoice_id)";

/// Rows whose keys are the same in all tables.
const ROWS: [(&str, &str); 6] = [
    ("customers", "id, $1, 'mail@example.com', true, 100, now()"),
    ("products", "id, $1, 1000, 50, true, now()"),
    ("orders", "id, id, 'open', 1000, now()"),
    ("order_lines", "id, id, id, 2, 500"),
    ("invoices", "id, id, 1, false, now()"),
    ("payments", "id, id, 1000, 'card', now()"),
];

pub struct Migrator;

impl MigratorTraitSelf for Migrator {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Create)]
    }
}

impl TenantMigrator for Migrator {}

struct Create;

impl MigrationName for Create {
    fn name(&self) -> &str {
        "m20261130_000001_create_shop"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Create {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(CREATE).await.map(drop)
    }
}

pub async fn rows(tenant: &TenantTransaction) -> Result<(), DbErr> {
    let slug = tenant.slug();
    for (table, values) in ROWS {
        // A slug has no quote.
        let values = values.replace("$1", &format!("'{slug}'"));
        let sql = format!(
            r#"INSERT INTO "@tenant"."{table}" SELECT {values} FROM generate_series(0, {}) AS n,
               LATERAL (SELECT lpad(to_hex(n), 32, '0')::uuid AS id) AS key"#,
            BOSSES - 1
        );
        tenant.execute_unprepared(&sql).await?;
    }
    Ok(())
}
