//! What each rule is called, why it matters, and what to do instead.

use super::Rule;

const TENANT_SIDE: &str = "tenants' schemas have to be alike on every node of a distributed engine";
const SCHEMAS: &str = "the same migration runs in every tenant's schema, and a schema can move to \
                       a node of its own: it must not need anything outside";
const LOCKED: &str = "the table is locked for as long as that takes, and every request of the \
                      tenant waits";
const OLD_CODE: &str = "the code of the release before still runs while tenants are migrated, and \
                        would fail";

impl Rule {
    /// Name, why it matters, the safe way.
    pub(super) const fn text(self) -> [&'static str; 3] {
        match self {
            Self::PrimaryKey => [
                "primary-key",
                "a row that nothing tells from others can be neither replicated nor moved to \
                 another node while it is in use",
                "give the table a primary key, a UUID made by the application",
            ],
            Self::Identity => [
                "identity",
                "numbers that each schema counts for itself collide as soon as rows of two \
                 tenants meet",
                "use a UUID that the application makes (Uuid::now_v7)",
            ],
            Self::OutsideSchema => [
                "outside-schema",
                SCHEMAS,
                "keep tables, functions and types that belong together in the tenant's schema; \
                 what exists once is read by the application",
            ],
            Self::Extension => [
                "extension",
                "an extension exists once in a database: it would be in the schema of the first \
                 tenant and go with it, so a run does not send the statement",
                "declare the extension in TenantMigrator::extensions(), and remove the statement",
            ],
            Self::SchemaQualified => [
                "schema-qualified",
                SCHEMAS,
                "leave the schema out: search_path is exactly the tenant's schema",
            ],
            Self::SearchPath => [
                "search-path",
                "search_path says which tenant is migrated; what changes it migrates another \
                 schema and records it for this one",
                "leave search_path alone",
            ],
            Self::SessionSetting => [
                "session-setting",
                "it holds until the connection is reset, for the migrations after this one and \
                 not for those that are run another day",
                "SET LOCAL, or set_config('name', 'value', true), which end with the transaction",
            ],
            Self::TemporaryTable => [
                "temporary-table",
                "it stays in the session with its rows, where a later migration of the same run \
                 finds it and one that is run another day does not",
                "CREATE TEMPORARY TABLE … ON COMMIT DROP; instead of a temporary view, sequence or \
                 function a subquery or a DO block",
            ],
            Self::CatalogByName => [
                "catalog-by-name",
                "the object of another tenant answers the query, so only the first tenant gets \
                 the change",
                "compare table_schema (nspname, schemaname) with current_schema(), or ask \
                 to_regclass('name'), or write IF [NOT] EXISTS",
            ],
            Self::DiffersBetweenSchemas => [
                "differs-between-schemas",
                "the same migration runs in every tenant's schema, and tenants would differ from \
                 each other although all of them are recorded as migrated",
                "make the statements depend on nothing outside the schema; look for catalog \
                 queries without current_schema(), and for objects that exist once in a database",
            ],
            Self::FunctionSearchPath => [
                "function-search-path",
                "a tenant's statements run without the tenant's schema in search_path, so the \
                 body finds no table, or that of another schema",
                "write the body as BEGIN ATOMIC … END, or add SET search_path FROM CURRENT to the \
                 function, or build the statement with TG_TABLE_SCHEMA",
            ],
            Self::Trigger => {
                ["trigger", TENANT_SIDE, "let the application write timestamps and audit rows"]
            }
            Self::CustomType => [
                "custom-type",
                "a type of each schema's own breaks cached statements (SQLSTATE 0A000), and \
                 taking a value out of an enum is not possible at all",
                "use text with a named CHECK",
            ],
            Self::MultipleActions => {
                ["multiple-actions", TENANT_SIDE, "write one ALTER TABLE for each action"]
            }
            Self::UnnamedConstraint => [
                "unnamed-constraint",
                "a name that PostgreSQL makes up differs between versions and nodes, and a later \
                 migration could not refer to it",
                "name every constraint and index",
            ],
            Self::RenameConstraint => [
                "rename-constraint",
                TENANT_SIDE,
                "add the constraint under its new name and drop the old one",
            ],
            Self::DeferrableConstraint => [
                "deferrable-constraint",
                TENANT_SIDE,
                "write rows in an order that keeps the constraint true at every statement",
            ],
            Self::Inheritance => [
                "inheritance",
                TENANT_SIDE,
                "repeat the columns, or keep a table of its own that refers to this one",
            ],
            Self::VolatileFunction => [
                "volatile-function",
                "every replica of a row has to get the same value",
                "pass random values and ids as parameters; now() is fine",
            ],
            Self::VolatileDefault => [
                "volatile-default",
                LOCKED,
                "add the column without a default, fill it in batches, then set the default; a \
                 constant default (or now()) rewrites nothing",
            ],
            Self::NotNullWithoutDefault => [
                "not-null-without-default",
                "it fails in every tenant whose table has a row, and inserts of the release \
                 before do not know the column",
                "add the column with a constant default, or nullable and set NOT NULL later",
            ],
            Self::SetNotNull => [
                "set-not-null",
                LOCKED,
                "first ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID, in the next migration \
                 VALIDATE CONSTRAINT, then SET NOT NULL",
            ],
            Self::IndexWithoutConcurrently => [
                "index-without-concurrently",
                LOCKED,
                "CREATE INDEX CONCURRENTLY IF NOT EXISTS in a migration of its own whose \
                 use_transaction() is Some(false); a UNIQUE or primary key constraint is then added USING INDEX",
            ],
            Self::TypeChange => [
                "type-change",
                LOCKED,
                "add a column of the new type, let the code write both, fill it in batches, then \
                 drop the old column",
            ],
            Self::ValidatedConstraint => [
                "validated-constraint",
                LOCKED,
                "ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in a later migration",
            ],
            Self::RewritesTable | Self::ScansTable => [
                if matches!(self, Self::RewritesTable) { "rewrites-table" } else { "scans-table" },
                LOCKED,
                "make a new table or column, fill it in batches and switch to it",
            ],
            Self::DropColumn => [
                "drop-column",
                OLD_CODE,
                "stop using the column, release that, drop it in a later release",
            ],
            Self::DropTable => [
                "drop-table",
                OLD_CODE,
                "stop using the table, release that, drop it in a later release",
            ],
            Self::Rename => [
                "rename",
                OLD_CODE,
                "add the new name beside the old one, let the code write both, drop the old one \
                 in a later release",
            ],
            Self::TransactionControl => [
                "transaction-control",
                "the transaction of a migration also holds the claim on the tenant and its \
                 version; to end it leaves the tenant half migrated",
                "leave transactions to the migration command, or use_transaction() = Some(false) \
                 and SchemaManager::begin",
            ],
            Self::ConcurrentlyInTransaction => [
                "concurrently-in-transaction",
                "PostgreSQL refuses CONCURRENTLY in a transaction, so the migration fails",
                "put it into a migration of its own whose use_transaction() is Some(false)",
            ],
            Self::NotIdempotent => [
                "not-idempotent",
                "a run that is killed when it was done and not yet on record leaves the tenant \
                 where no further run gets by",
                "CREATE INDEX CONCURRENTLY IF NOT EXISTS, DROP INDEX CONCURRENTLY IF EXISTS; an \
                 index that is not valid is removed before",
            ],
            Self::MigrationFails => [
                "migration-fails",
                "it would fail in every tenant; migrations after it were not checked",
                "mend the migration",
            ],
            Self::UnusedAllow => [
                "unused-allow",
                "what is acknowledged without a reason or without need hides the next finding",
                "write /* check: allow RULE because REASON */ into the statement, or remove it",
            ],
        }
    }
}
