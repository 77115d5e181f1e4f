//! The catalogs of a database, and queries that find in them what a transaction has made.

use std::{fmt::Write, sync::LazyLock};

/// A catalog whose rows are objects of a database.
pub(super) struct Catalog {
    pub(super) name: &'static str,
    /// How the key and the schema of an object are found; none where it belongs to the database.
    oid: &'static str,
    namespace: Option<&'static str>,
    /// How a new object is told from one that has another owner or other privileges.
    news: News,
}

/// What is new in a catalog.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    /// An object with new dependencies: it was made, replaced or moved.
    Dependencies,
    /// Any row that the transaction has written.
    Row,
    /// The same, if there are more rows than before.
    Insert,
    /// The rows may not be read: that there are more of them is all that is known.
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
        news: News::Row,
        ..of("pg_enum", "(SELECT typnamespace FROM pg_type t WHERE t.oid = enumtypid)")
    },
    Catalog { news: News::Row, ..of("pg_default_acl", "defaclnamespace") },
    Catalog { news: News::Insert, ..of("pg_namespace", "oid") },
    // A cast goes with the types that it is about.
    Catalog {
        news: News::Row,
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
    Catalog { news: News::Count("a role"), ..whole("pg_authid") },
    Catalog { news: News::Count("a subscription"), ..whole("pg_subscription") },
];

const fn of(name: &'static str, namespace: &'static str) -> Catalog {
    Catalog { name, oid: "oid", namespace: Some(namespace), news: News::Dependencies }
}

const fn whole(name: &'static str) -> Catalog {
    Catalog { name, oid: "oid", namespace: None, news: News::Insert }
}

/// What is attached to a relation: catalog, column with the relation.
const ATTACHED: [(&str, &str); 4] = [
    ("pg_trigger", "tgrelid"),
    ("pg_policy", "polrelid"),
    ("pg_constraint", "conrelid"),
    ("pg_rewrite", "ev_class"),
];

impl Catalog {
    /// How many rows the session has written.
    fn written(&self) -> String {
        let name = format!("'pg_catalog.{}'::regclass", self.name);
        match self.news {
            News::Insert | News::Count(_) => format!("pg_stat_get_xact_tuples_inserted({name})"),
            News::Dependencies | News::Row => format!(
                "pg_stat_get_xact_tuples_inserted({name}) + pg_stat_get_xact_tuples_updated({name})"
            ),
        }
    }

    /// The objects in the catalog that are new.
    fn objects(&self, fresh: Fresh) -> String {
        let class = match self.name {
            "pg_enum" => "pg_type",
            "pg_largeobject_metadata" => "pg_largeobject",
            name => name,
        };
        let mut which = fresh("x");
        if self.news == News::Dependencies {
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

/// An expression for whether a row is new.
type Fresh = fn(&str) -> String;

/// Whether a row was written by this very transaction or one of its subtransactions. Those of other
/// transactions in progress are not visible. Not by a command before number $2.
fn is_own(row: &str) -> String {
    format!(
        "CASE WHEN age({row}.xmin) <= age(pg_current_xact_id()::xid) THEN pg_xact_status(
            (pg_current_xact_id()::text::numeric - age({row}.xmin)
                + age(pg_current_xact_id()::xid))::text::xid8) = 'in progress'
            AND {row}.cmin::text::bigint >= $2 ELSE false END"
    )
}

/// A query for the number of the command of this transaction that made the newest of the schemas in
/// the JSON array $1, or $2.
pub(crate) fn command_sql() -> String {
    format!(
        "(SELECT coalesce(max(n.cmin::text::bigint), $2) FROM pg_namespace n
    WHERE n.nspname IN (SELECT json_array_elements_text($1::text::json)) AND {})",
        is_own("n")
    )
}

/// Whether a row was committed after the snapshot $2. (What is frozen was not.)
fn is_later(row: &str) -> String {
    format!(
        "CASE WHEN age({row}.xmin) < 2000000000 THEN NOT pg_visible_in_snapshot(
            (pg_snapshot_xmax(pg_current_snapshot())::text::numeric - age({row}.xmin)
                + age(pg_snapshot_xmax(pg_current_snapshot())::xid))::text::xid8,
            $2::pg_snapshot) ELSE false END"
    )
}

/// Whether an object was made, replaced or moved. Written so that no plan reads all dependencies.
fn is_new(catalog: &str, oid: &str, fresh: Fresh) -> String {
    format!(
        "(SELECT true FROM pg_depend d WHERE d.classid = '{catalog}'::regclass
            AND d.objid = {oid} AND d.objsubid = 0 AND {} LIMIT 1)",
        fresh("d")
    )
}

/// `WITH` the schemas that are no outside, in the JSON array $1, and the relations that the
/// transaction has made or changed.
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

/// A query for a [`Look`](super::Look) as text; $1 is the JSON array of the schemas that are no
/// outside, $2 the number of the command from which on the transaction is watched.
pub(crate) fn look_sql() -> &'static str {
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

/// A query for the names of the objects outside that the transaction has made: of the relations
/// and what is attached to them, and of these catalogs.
pub(super) fn made_sql(suspects: &[usize]) -> String {
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
    for catalog in suspects().filter(|it| !matches!(it.news, News::Count(_))) {
        sql.push_str(&catalog.objects(is_own));
    }
    sql.push_str(NAMES);
    for catalog in suspects() {
        if let News::Count(name) = catalog.news {
            // Where nothing is counted it is not known either.
            let _ = write!(
                sql,
                "\nUNION ALL SELECT '{name}' WHERE current_setting('track_counts')::boolean"
            );
        }
    }
    sql
}

/// A query for the names of the objects outside the schema $1 that have come to be after the
/// snapshot $2, in the schemas of no tenant. $3 has the numbers of the schemas that there were.
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
    -- One that is being made.
    OR obj_description(oid, 'pg_namespace') LIKE 'tenantry:%' {tenants}
), object (classid, objid, objsubid, namespace) AS (
    SELECT 'pg_namespace'::regclass, x.oid, 0, x.oid FROM pg_namespace x
    WHERE {later} AND x.oid <> ALL ($3::oid[])
    UNION ALL SELECT 'pg_class'::regclass, x.oid, 0, x.relnamespace FROM pg_class x
    WHERE {later} AND {}",
        is_new("pg_class", "x.oid", is_later)
    );
    for catalog in CATALOGS.iter().filter(|it| it.news == News::Dependencies) {
        sql.push_str(&catalog.objects(is_later));
    }
    sql + NAMES
}

/// The end of a query for names of objects.
const NAMES: &str = ")
SELECT DISTINCT it.type || ' ' || it.identity AS name FROM object
CROSS JOIN LATERAL pg_identify_object(classid, objid, objsubid) it
WHERE (namespace IS NULL OR namespace NOT IN (SELECT oid FROM own)) AND it.type IS NOT NULL
-- Not what is a part of another object: a row type, an index of a constraint, a member of an
-- extension.
AND (objsubid > 0 OR classid = 'pg_rewrite'::regclass OR (SELECT true FROM pg_depend d
    WHERE d.classid = object.classid AND d.objid = object.objid AND d.objsubid = 0
    AND d.deptype IN ('i', 'e') LIMIT 1) IS NULL)";
