//! Differences that are injected into a schema.

use super::*;

/// SQL for a tenant's schema, and the expected differences.
const PLANTED: [(&str, &[&str]); 36] = [
    (
        "DROP INDEX guards_position_idx",
        &["- index guards_position_idx ON guards USING btree (\"position\", id)"],
    ),
    (
        "CREATE INDEX guards_name_idx ON guards (lower(name)) WHERE name <> ''",
        &["+ index guards_name_idx ON guards USING btree (lower(name)) WHERE name <> ''::text"],
    ),
    (
        "DROP INDEX shifts_guard_id_idx; CREATE UNIQUE INDEX shifts_guard_id_idx ON shifts (guard_id, id)",
        &["~ index shifts_guard_id_idx: ON shifts USING btree (guard_id, id) → \
           UNIQUE ON shifts USING btree (guard_id, id)"],
    ),
    ("ALTER TABLE guards ADD badge int", &["+ column guards.badge integer"]),
    ("ALTER TABLE guards DROP COLUMN name", &["- column guards.name text not null"]),
    (
        "ALTER TABLE guards ALTER name TYPE varchar(40)",
        &["~ column guards.name: text not null → character varying(40) not null"],
    ),
    (
        "ALTER TABLE guards ALTER name SET DEFAULT 'x'",
        &["~ column guards.name: text not null → text not null default 'x'::text"],
    ),
    (
        "ALTER TABLE guards ALTER name DROP NOT NULL",
        &["~ column guards.name: text not null → text"],
    ),
    (
        "ALTER TABLE guards ALTER name TYPE text COLLATE \"C\"",
        &["~ column guards.name: text not null → text collate \"C\" not null"],
    ),
    (
        "ALTER TABLE guards ADD n int GENERATED ALWAYS AS IDENTITY",
        &["+ column guards.n integer not null generated always as identity"],
    ),
    (
        "ALTER TABLE guards ADD n int GENERATED ALWAYS AS (length(name)) STORED",
        &["+ column guards.n integer generated always as length(name) stored"],
    ),
    (
        "ALTER TABLE guards RENAME name TO nam; ALTER TABLE guards ADD name text NOT NULL;
         ALTER TABLE guards DROP nam",
        &["~ order of columns guards: id, name, position, inserted_at, updated_at → \
           id, position, inserted_at, updated_at, name"],
    ),
    (
        "CREATE TABLE notes (id uuid CONSTRAINT notes_pkey PRIMARY KEY, body text);
         GRANT SELECT ON notes TO PUBLIC; CREATE INDEX ON notes (body)",
        &["+ table notes (id, body)"],
    ),
    (
        "CREATE UNLOGGED TABLE notes (id uuid)",
        &["+ table notes (id) unlogged"],
    ),
    (
        "DROP TABLE shifts",
        &["- table shifts (id, guard_id, starts_at, ends_at, inserted_at, updated_at)"],
    ),
    (
        "ALTER TABLE shifts RENAME CONSTRAINT shifts_ends_at_check TO late",
        &[
            "+ constraint shifts.late CHECK (ends_at > starts_at)",
            "- constraint shifts.shifts_ends_at_check CHECK (ends_at > starts_at)",
        ],
    ),
    (
        "ALTER TABLE guards RENAME CONSTRAINT guards_pkey TO key",
        &[
            "+ constraint guards.key PRIMARY KEY (id)",
            "- constraint guards.guards_pkey PRIMARY KEY (id)",
        ],
    ),
    (
        "ALTER TABLE shifts DROP CONSTRAINT shifts_ends_at_check;
         ALTER TABLE shifts ADD CONSTRAINT shifts_ends_at_check CHECK (ends_at > starts_at) NOT VALID",
        &["~ constraint shifts.shifts_ends_at_check: CHECK (ends_at > starts_at) → \
           CHECK (ends_at > starts_at) NOT VALID"],
    ),
    (
        "ALTER TABLE shifts DISABLE TRIGGER ALL",
        &["~ constraint shifts.shifts_guard_id_fkey: FOREIGN KEY (guard_id) REFERENCES guards(id) \
           ON DELETE CASCADE → FOREIGN KEY (guard_id) REFERENCES guards(id) ON DELETE CASCADE \
           TRIGGERS DISABLED"],
    ),
    (
        "CREATE FUNCTION busy(guards) RETURNS bool STABLE LANGUAGE sql AS 'SELECT true'",
        &["+ function busy(guards) (guards) returns boolean language sql stable cost 100 \
           as SELECT true"],
    ),
    (
        "CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER hush BEFORE INSERT ON guards FOR EACH ROW EXECUTE FUNCTION quiet()",
        &[
            "+ function quiet() () returns trigger language plpgsql cost 100 as BEGIN RETURN NULL; END",
            "+ trigger guards.hush BEFORE INSERT ON guards FOR EACH ROW EXECUTE FUNCTION quiet()",
        ],
    ),
    (
        "CREATE RULE never AS ON DELETE TO guards DO INSTEAD NOTHING",
        &["+ rule guards.never AS ON DELETE TO guards DO INSTEAD NOTHING;"],
    ),
    (
        "CREATE SEQUENCE numbers START 5",
        &["+ sequence numbers bigint start 5 increment 1 minvalue 1 maxvalue 9223372036854775807 \
           cache 1"],
    ),
    (
        "CREATE VIEW one AS SELECT 1 AS one",
        &["+ view one as SELECT 1 AS one;"],
    ),
    (
        "CREATE MATERIALIZED VIEW names AS SELECT 1 AS one; CREATE INDEX one_idx ON names (one)",
        &["+ materialized view names as SELECT 1 AS one;"],
    ),
    ("CREATE TYPE mood AS ENUM ('good', 'bad')", &["+ type mood enum ('good', 'bad')"]),
    (
        "CREATE DOMAIN age AS int CONSTRAINT adult CHECK (VALUE > 17)",
        &["+ type age domain over integer"],
    ),
    ("CREATE TYPE pair AS (a int, b guards)", &["+ type pair (a, b) composite"]),
    (
        "ALTER TABLE guards ENABLE ROW LEVEL SECURITY;
         CREATE POLICY mine ON guards FOR SELECT USING (name = current_user)",
        &[
            "~ table guards: nothing → row level security",
            "+ policy guards.mine for select to public using ((name = CURRENT_USER))",
        ],
    ),
    ("GRANT SELECT, INSERT ON guards TO PUBLIC", &["+ grant table guards to public INSERT, SELECT"]),
    (
        "REVOKE ALL ON guards FROM CURRENT_USER; GRANT SELECT ON guards TO CURRENT_USER",
        &["+ grant table guards to its owner SELECT"],
    ),
    ("GRANT UPDATE (name) ON guards TO PUBLIC", &["+ grant column guards.name to public UPDATE"]),
    (
        "ALTER TABLE guards OWNER TO pg_read_all_data",
        &["+ owner table guards pg_read_all_data"],
    ),
    (
        "CREATE STATISTICS pairs ON name, position FROM guards",
        &["+ statistics pairs ON name, \"position\" FROM guards"],
    ),
    (
        "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
         CREATE COLLATION plain (LOCALE = 'C')",
        &["+ operator ===(integer,integer)", "+ collation plain"],
    ),
    (
        "INSERT INTO seaql_migrations VALUES ('m2099_from_the_future', 0)",
        &["+ migration m2099_from_the_future applied, unknown to this build"],
    ),
];

#[tokio::test]
async fn finds_every_injected_difference() {
    let db = TestDb::new().await;
    let tenancy = db.tenancy().await;
    let plain = db.plain().await;
    for (number, (sql, _)) in PLANTED.iter().enumerate() {
        tenancy.create(NewTenant::new(slug(&format!("tenant-{number}")))).await.unwrap();
        plant(&plain, &format!("tenant_{number}"), sql).await;
    }
    tenancy.create(NewTenant::new(slug("clean"))).await.unwrap();

    let found = all(&plain).await;
    assert_eq!((found.schemas, found.drifted), (PLANTED.len() + 1, PLANTED.len()));
    let said = said(&found);
    for (number, (sql, expected)) in PLANTED.iter().enumerate() {
        let mut lines = said[&format!("tenant_{number}")].clone();
        lines.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(lines, expected, "{sql}");
    }
    assert!(!said.contains_key("clean"));
}
