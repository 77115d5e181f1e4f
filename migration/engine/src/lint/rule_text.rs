//! Name, profile, reason and help of each rule.

use super::{
    Profile::{self, Citus, Postgres},
    Rule::{self, *},
};

pub(super) struct RuleText {
    pub(super) rule: Rule,
    pub(super) id: &'static str,
    pub(super) profile: Profile,
    pub(super) reason: &'static str,
    pub(super) help: &'static str,
}

const NODES: &str = "Citus supports it for distributed tables only in part, or not at all";
const EVERY_SCHEMA: &str = "the migration runs in every tenant's schema, and must not depend on \
                            anything outside it";
const LOCKED: &str = "the table is locked meanwhile, and the tenant's requests wait";
const OLD_CODE: &str = "the previous release still runs while tenants are migrated, and its \
                        statements fail";

const fn text(
    rule: Rule,
    id: &'static str,
    profile: Profile,
    reason: &'static str,
    help: &'static str,
) -> RuleText {
    RuleText { rule, id, profile, reason, help }
}

/// In the order of the enum.
pub(super) const RULES: [RuleText; 37] = [
    text(
        PrimaryKey,
        "primary-key",
        Citus,
        "rows without a primary key cannot be replicated, or moved to another node while in use",
        "add a primary key, such as a UUID that the application generates",
    ),
    text(
        Identity,
        "identity",
        Citus,
        "each schema counts by itself, so numbers collide when rows of tenants are merged",
        "use a UUID that the application generates (Uuid::now_v7)",
    ),
    text(
        OutsideSchema,
        "outside-schema",
        Postgres,
        EVERY_SCHEMA,
        "create tables, functions and types in the tenant's schema, and read shared data in the \
         application",
    ),
    text(
        SharedForeignKey,
        "shared-foreign-key",
        Citus,
        "a schema that moves to another node can refer only to tables that every node has",
        "store the key without a constraint, or make the shared table a reference table of Citus",
    ),
    text(
        Extension,
        "extension",
        Postgres,
        "an extension exists once in a database: it would be created in the schema of the first \
         tenant, and dropped with it; a run does not send the statement",
        "declare the extension in TenantMigrator::extensions() and remove the statement",
    ),
    text(
        SchemaQualified,
        "schema-qualified",
        Postgres,
        EVERY_SCHEMA,
        "omit the schema: search_path contains only the tenant's schema",
    ),
    text(
        PlaceholderInString,
        "placeholder-in-string",
        Postgres,
        "the placeholder is replaced only where it is a quoted identifier: the statement, or the \
         function when it is called, finds no schema \"@tenant\"",
        "write the name without a schema; in a function, write the body as BEGIN ATOMIC … END, or \
         add SET search_path FROM CURRENT",
    ),
    text(
        SearchPath,
        "search-path",
        Postgres,
        "search_path selects the tenant: after a change, another schema is migrated, and recorded \
         for this tenant",
        "do not change search_path",
    ),
    text(
        SessionSetting,
        "session-setting",
        Postgres,
        "the setting lasts until the connection is reset: later migrations of the same run see it, \
         those of another run do not",
        "use SET LOCAL, or set_config('name', 'value', true)",
    ),
    text(
        TemporaryTable,
        "temporary-table",
        Postgres,
        "the object and its rows stay in the session: later migrations of the same run see them, \
         those of another run do not",
        "use CREATE TEMPORARY TABLE … ON COMMIT DROP; instead of a temporary view, sequence or \
         function, use a subquery or a DO block",
    ),
    text(
        CatalogByName,
        "catalog-by-name",
        Postgres,
        "the query finds another tenant's object, so only the first tenant is changed",
        "compare table_schema (nspname, schemaname) with current_schema(), or use \
         to_regclass('name') or IF [NOT] EXISTS",
    ),
    text(
        DiffersBetweenSchemas,
        "differs-between-schemas",
        Postgres,
        "tenants would differ although the same migrations are recorded for them",
        "look for catalog queries without current_schema(), and for objects that exist once in a \
         database",
    ),
    text(
        FunctionSearchPath,
        "function-search-path",
        Postgres,
        "a tenant's statements run without its schema in search_path, so the body finds no table, \
         or a table of another schema",
        "write the body as BEGIN ATOMIC … END, add SET search_path FROM CURRENT to the function, \
         or build the statement with TG_TABLE_SCHEMA",
    ),
    text(Trigger, "trigger", Citus, NODES, "write timestamps and audit rows in the application"),
    text(
        CustomType,
        "custom-type",
        Citus,
        "each schema has its own copy of the type, and a value cannot be removed from an enum",
        "use text with a named CHECK constraint",
    ),
    text(MultipleActions, "multiple-actions", Citus, NODES, "use one ALTER TABLE per action"),
    text(
        UnnamedConstraint,
        "unnamed-constraint",
        Citus,
        "names that PostgreSQL generates differ between versions and nodes, so a later migration \
         cannot refer to them",
        "name every constraint and index",
    ),
    text(
        RenameConstraint,
        "rename-constraint",
        Citus,
        NODES,
        "add the constraint under the new name and drop the old one",
    ),
    text(
        DeferrableConstraint,
        "deferrable-constraint",
        Citus,
        NODES,
        "write rows in an order that satisfies the constraint after each statement",
    ),
    text(
        Inheritance,
        "inheritance",
        Citus,
        NODES,
        "repeat the columns, or use a second table with a foreign key",
    ),
    text(
        VolatileFunction,
        "volatile-function",
        Citus,
        "replicas of a row must have the same value",
        "pass random values and ids as parameters; now() is allowed",
    ),
    text(
        VolatileDefault,
        "volatile-default",
        Postgres,
        LOCKED,
        "add the column without a default, fill it in batches, then set the default; a constant \
         default, or now(), does not rewrite the table",
    ),
    text(
        NotNullWithoutDefault,
        "not-null-without-default",
        Postgres,
        "it fails for tables with rows, and INSERTs of the previous release do not set the column",
        "add the column with a constant default, or as nullable and SET NOT NULL later",
    ),
    text(
        SetNotNull,
        "set-not-null",
        Postgres,
        LOCKED,
        "ADD CONSTRAINT … CHECK (… IS NOT NULL) NOT VALID, VALIDATE CONSTRAINT in the next \
         migration, then SET NOT NULL",
    ),
    text(
        IndexWithoutConcurrently,
        "index-without-concurrently",
        Postgres,
        LOCKED,
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS in a migration of its own with \
         use_transaction() = Some(false); then add a UNIQUE or primary key constraint USING INDEX",
    ),
    text(
        TypeChange,
        "type-change",
        Postgres,
        LOCKED,
        "add a column with the new type, write both columns, fill the new one in batches, then \
         drop the old one",
    ),
    text(
        ValidatedConstraint,
        "validated-constraint",
        Postgres,
        LOCKED,
        "ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in a later migration",
    ),
    text(
        RewritesTable,
        "rewrites-table",
        Postgres,
        LOCKED,
        "create a new table or column, fill it in batches, then switch to it",
    ),
    text(
        ScansTable,
        "scans-table",
        Postgres,
        LOCKED,
        "create a new table or column, fill it in batches, then switch to it",
    ),
    text(
        DropColumn,
        "drop-column",
        Postgres,
        OLD_CODE,
        "stop using the column in one release, drop it in a later one",
    ),
    text(
        DropTable,
        "drop-table",
        Postgres,
        OLD_CODE,
        "stop using the table in one release, drop it in a later one",
    ),
    text(
        Rename,
        "rename",
        Postgres,
        OLD_CODE,
        "add a column or table with the new name, write both, drop the old one in a later release",
    ),
    text(
        TransactionControl,
        "transaction-control",
        Postgres,
        "the migration's transaction also holds the lock on the tenant and records its version; \
         ending it leaves the tenant partly migrated",
        "let the run manage transactions, or use use_transaction() = Some(false) and \
         SchemaManager::begin",
    ),
    text(
        ConcurrentlyInTransaction,
        "concurrently-in-transaction",
        Postgres,
        "PostgreSQL does not allow CONCURRENTLY in a transaction, so the migration fails",
        "move it to a migration of its own with use_transaction() = Some(false)",
    ),
    text(
        NotIdempotent,
        "not-idempotent",
        Postgres,
        "if the process dies after the statement but before the migration is recorded, every \
         later run fails on this statement",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS, DROP INDEX CONCURRENTLY IF EXISTS; a run drops \
         an invalid index first",
    ),
    text(
        MigrationFails,
        "migration-fails",
        Postgres,
        "it would fail for every tenant; later migrations were not checked",
        "fix the migration",
    ),
    text(
        UnusedAllow,
        "unused-allow",
        Postgres,
        "a suppression without a reason or a finding hides the next finding",
        "write /* check: allow RULE because REASON */ into the statement, or remove the comment",
    ),
];
