//! System catalogs, and queries for the objects that a transaction has created in them.

use std::{fmt::Write, sync::LazyLock};

/// System catalog whose rows are objects.
pub(super) struct Catalog {
    pub(super) name: &'static str,
    /// Expressions for the OID and the schema of an object; no schema if it belongs to the database.
    oid: &'static str,
    namespace: Option<&'static str>,
    new: NewRows,
}

/// Rows of a catalog that count as new objects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NewRows {
    /// Objects with new dependencies: created, replaced or moved. Others may only have a new owner or
    /// new privileges.
    Dependencies,
    /// All rows that the transaction has written.
    Row,
    /// Rows that the transaction has inserted.
    Insert,
    /// The number of inserted rows: the rows themselves may not be read.
    Count(&'static str),
}

pub(super) static CATALOGS: [Catalog; 27] = [
    of("pg_proc", "pronamespace"),
    of("pg_type", "typnamespace"),
    of("pg_operator", "oprnamespace"),
    of("pg_opclass", "opcnamespace"),
    of("pg_opfamily", "opfnamespace"),
    of("pg_collation", "collnamespace"),
    of("pg_conversion", "connamespace"),
    of("pg_statistic_ext", "stxnamespace"),
    of("pg_ts_config", "cfgnamespace"),
    of("pg_ts_dict", "dictnamespace"),
    of("pg_ts_parser", "prsnamespace"),
    of("pg_ts_template", "tmplnamespace"),
    Catalog {
        oid: "enumtypid",
        new: NewRows::Row,
        ..of("pg_enum", "(SELECT typnamespace FROM pg_type t WHERE t.oid = enumtypid)")
    },
    Catalog { new: NewRows::Row, ..of("pg_default_acl", "defaclnamespace") },
    Catalog { new: NewRows::Insert, ..of("pg_namespace", "oid") },
    // A cast has no schema; use that of its types.
    Catalog {
        new: NewRows::Row,
        ..of(
            "pg_cast",
            "(SELECT max(typnamespace::bigint)::oid FROM pg_type t
                WHERE t.oid IN (castsource, casttarget) AND typnamespace IN (SELECT oid FROM own))",
        )
    },
    Catalog { namespace: None, ..of("pg_extension", "") },
    whole("pg_language"),
    whole("pg_am"),
    whole("pg_foreign_data_wrapper"),
    whole("pg_foreign_server"),
    whole("pg_publication"),
    whole("pg_event_trigger"),
    whole("pg_largeobject_metadata"),
    whole("pg_transform"),
    Catalog { new: NewRows::Count("a role"), ..whole("pg_authid") },
    Catalog { new: NewRows::Count("a subscription"), ..whole("pg_subscription") },
];

const fn of(name: &'static str, namespace: &'static str) -> Catalog {
    Catalog { name, oid: "oid", namespace: Some(namespace), new: NewRows::Dependencies }
}

const fn whole(name: &'static str) -> Catalog {
    Catalog { name, oid: "oid", namespace: None, new: NewRows::Insert }
}

/// Objects of a relation: catalog, column with the relation.
const ATTACHED: [(&str, &str); 4] = [
    ("pg_trigger", "tgrelid"),
    ("pg_policy", "polrelid"),
    ("pg_constraint", "conrelid"),
    ("pg_rewrite", "ev_class"),
];

impl Catalog {
    /// An expression for the number of rows that the session has written.
    fn written(&self) -> String {
        let name = format!("'pg_catalog.{}'::regclass", self.name);
        match self.new {
            NewRows::Insert | NewRows::Count(_) => {
                format!("pg_stat_get_xact_tuples_inserted({name})")
            }
            NewRows::Dependencies | NewRows::Row => format!(
                "pg_stat_get_xact_tuples_inserted({name}) + pg_stat_get_xact_tuples_updated({name})"
            ),
        }
    }

    /// A query for the new objects in the catalog.
    fn objects(&self, fresh: Fresh) -> String {
        let class = match self.name {
            "pg_enum" => "pg_type",
            "pg_largeobject_metadata" => "pg_largeobject",
            name => name,
        };
        let mut which = fresh("x");
        if self.new == NewRows::Dependencies {
            let _ = write!(which, " AND {}", is_new(self.name, "x.oid", fresh));
        }
        let (oid, namespace) = (self.oid, self.namespace.unwrap_or("0::oid"));
        format!(
            "
    UNION ALL SELECT '{class}'::regclass, x.{oid}, 0, {namespace} FROM {} x WHERE {which}",
            self.name
        )
    }
}

/// Makes an expression for whether a row is new.
type Fresh = fn(&str) -> String;

/// Whether a row was written by this transaction or one of its subtransactions, by command $2 or a
/// later one. (Rows of other transactions in progress are not visible.)
fn is_own(row: &str) -> String {
    format!(
        "CASE WHEN age({row}.xmin) <= age(pg_current_xact_id()::xid) THEN pg_xact_status(
            (pg_current_xact_id()::text::numeric - age({row}.xmin)
                + age(pg_current_xact_id()::xid))::text::xid8) = 'in progress'
            AND {row}.cmin::text::bigint >= $2 ELSE false END"
    )
}

/// A query for the number of the command of this transaction that created the newest of the schemas
/// in the JSON array $1, or $2.
pub(crate) fn newest_command_sql() -> String {
    format!(
        "(SELECT coalesce(max(n.cmin::text::bigint), $2) FROM pg_namespace n
    WHERE n.nspname IN (SELECT json_array_elements_text($1::text::json)) AND {})",
        is_own("n")
    )
}

/// Whether a row was committed after the snapshot $2. (A frozen row was not.)
fn is_later(row: &str) -> String {
    format!(
        "CASE WHEN age({row}.xmin) < 2000000000 THEN NOT pg_visible_in_snapshot(
            (pg_snapshot_xmax(pg_current_snapshot())::text::numeric - age({row}.xmin)
                + age(pg_snapshot_xmax(pg_current_snapshot())::xid))::text::xid8,
            $2::pg_snapshot) ELSE false END"
    )
}

/// Whether an object was created, replaced or moved. No plan of it reads all of `pg_depend`.
fn is_new(catalog: &str, oid: &str, fresh: Fresh) -> String {
    format!(
        "(SELECT true FROM pg_depend d WHERE d.classid = '{catalog}'::regclass
            AND d.objid = {oid} AND d.objsubid = 0 AND {} LIMIT 1)",
        fresh("d")
    )
}

/// A `WITH` clause for the migrated schemas, in the JSON array $1, and the relations that the
/// transaction has created or changed.
fn relations() -> String {
    format!(
        "WITH own AS MATERIALIZED (
    SELECT oid FROM pg_namespace
    WHERE nspname IN (SELECT json_array_elements_text($1::text::json))
    OR nspname ~ '^pg_(temp|toast)'
), relation AS MATERIALIZED (
    SELECT c.oid, c.reltype, c.relkind, c.relnamespace, {} AS is_new FROM pg_class c
    WHERE c.oid IN (
        SELECT relation FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'
        AND mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock',
            'ExclusiveLock', 'AccessExclusiveLock')
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
)",
        is_new("pg_class", "c.oid", is_own)
    )
}

/// A query for a [`Snapshot`](super::Snapshot) in JSON; $1 is the JSON array of the migrated schemas,
/// $2 the number of the first command that counts.
pub(crate) fn snapshot_sql() -> &'static str {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        let written: Vec<String> = CATALOGS.iter().map(Catalog::written).collect();
        format!(
            "({} SELECT json_build_object(
    'counting', current_setting('track_counts')::boolean,
    'written', json_build_array({}),
    'types', count(*) FILTER (WHERE is_new AND reltype <> 0),
    'relations', coalesce(bool_or(relnamespace NOT IN (SELECT oid FROM own)), false))::text
FROM relation)",
            relations(),
            written.join(", ")
        )
    });
    &SQL
}

/// A query for the names of the objects outside that the transaction has created: relations and
/// their objects, and objects in these catalogs.
pub(super) fn created_sql(suspects: &[usize]) -> String {
    let mut sql = format!(
        "{}, changed AS MATERIALIZED (
    SELECT oid FROM relation
    WHERE relnamespace NOT IN (SELECT oid FROM own) AND is_new IS NOT true
), object (classid, objid, objsubid, namespace) AS (
    SELECT CASE relkind WHEN 'c' THEN 'pg_type'::regclass ELSE 'pg_class'::regclass END,
        CASE relkind WHEN 'c' THEN reltype ELSE oid END, 0, relnamespace
    FROM relation WHERE is_new
    UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum, 0::oid
    FROM pg_attribute a JOIN changed c ON c.oid = attrelid
    WHERE attnum > 0 AND NOT attisdropped AND {}",
        relations(),
        is_own("a")
    );
    for (catalog, relation) in ATTACHED {
        let is_new = is_new(catalog, "x.oid", is_own);
        let _ = write!(
            sql,
            "
    UNION ALL SELECT '{catalog}'::regclass, x.oid, 0, 0::oid
    FROM {catalog} x JOIN changed c ON c.oid = x.{relation} WHERE {is_new}"
        );
    }
    let suspects = || suspects.iter().filter_map(|index| CATALOGS.get(*index));
    for catalog in suspects().filter(|it| !matches!(it.new, NewRows::Count(_))) {
        sql.push_str(&catalog.objects(is_own));
    }
    sql.push_str(NAMES);
    for catalog in suspects() {
        if let NewRows::Count(name) = catalog.new {
            // Unknown if PostgreSQL does not count.
            let _ = write!(
                sql,
                "\nUNION ALL SELECT '{name}' WHERE current_setting('track_counts')::boolean"
            );
        }
    }
    sql
}

/// A query for the names of the objects that were created after the snapshot $2 outside the schema
/// $1 and the schemas of tenants. $3 has the OIDs of the schemas that existed.
pub(super) fn later_sql(registry: bool) -> String {
    let tenants = match registry {
        true => "OR nspname IN (SELECT schema FROM registry.tenants)",
        false => "",
    };
    let later = is_later("x");
    let mut sql = format!(
        "WITH own AS MATERIALIZED (
    SELECT oid FROM pg_namespace n
    WHERE nspname = $1 OR nspname ~ '^(pg_temp|pg_toast|tenantry_)'
    -- A schema that is being created.
    OR obj_description(oid, 'pg_namespace') LIKE 'tenantry:%' {tenants}
), object (classid, objid, objsubid, namespace) AS (
    SELECT 'pg_namespace'::regclass, x.oid, 0, x.oid FROM pg_namespace x
    WHERE {later} AND x.oid <> ALL ($3::oid[])
    UNION ALL SELECT 'pg_class'::regclass, x.oid, 0, x.relnamespace FROM pg_class x
    WHERE {later} AND {}",
        is_new("pg_class", "x.oid", is_later)
    );
    for catalog in CATALOGS.iter().filter(|it| it.new == NewRows::Dependencies) {
        sql.push_str(&catalog.objects(is_later));
    }
    sql + NAMES
}

/// End of a query for names of objects.
const NAMES: &str = ")
SELECT DISTINCT it.type || ' ' || it.identity AS name FROM object
CROSS JOIN LATERAL pg_identify_object(classid, objid, objsubid) it
WHERE (namespace IS NULL OR namespace NOT IN (SELECT oid FROM own)) AND it.type IS NOT NULL
-- Without parts of other objects: a row type, an index of a constraint, a member of an extension.
AND (objsubid > 0 OR classid = 'pg_rewrite'::regclass OR (SELECT true FROM pg_depend d
    WHERE d.classid = object.classid AND d.objid = object.objid AND d.objsubid = 0
    AND d.deptype IN ('i', 'e') LIMIT 1) IS NULL)";
