//! The roles, and their privileges on the database and on what will be created in it.

use sea_orm::{ConnectionTrait, DbErr, Value};

use super::{RoleName, SetupError, SetupOptions, SetupPlan, SetupStep, grants::GRANTED, pairs};
use crate::{
    DynMigrator, Extension,
    sql::query::{column, rows},
};

/// The two roles, in the database of a connection. In the queries $1 is the owner, $2 the
/// application; they may not exist yet.
pub(super) struct Roles {
    database: String,
    owner: RoleName,
    application: RoleName,
    exist: bool,
}

const ROLES: &str = "WITH role AS (SELECT
    (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1::text) AS owner,
    (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $2::text) AS application,
    current_setting('server_version_num')::integer AS version)";

/// The role of the connection gets that of the owner unless it is a superuser: `ALTER DEFAULT
/// PRIVILEGES` and `GRANT` need it. From PostgreSQL 16 on, a membership has options, and each of its
/// grantors has to revoke it; a role that has created another one is a member without both.
const CREATE: &str = "
SELECT sql FROM (
    SELECT 1, format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', name)
    FROM role, unnest(ARRAY[$1::text, $2::text], ARRAY[owner, application]) it (name, id)
    WHERE id IS NULL
    UNION ALL
    SELECT 2, format('ALTER ROLE %I%s', rolname, concat(
        CASE WHEN rolcreatedb THEN ' NOCREATEDB' END,
        CASE WHEN rolcreaterole THEN ' NOCREATEROLE' END,
        CASE WHEN rolreplication THEN ' NOREPLICATION' END,
        CASE WHEN rolbypassrls THEN ' NOBYPASSRLS' END))
    FROM role JOIN pg_catalog.pg_roles r ON r.oid = application
    WHERE rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
    UNION ALL
    SELECT 3, format('GRANT %I TO %I', $1::text, current_user)
    FROM role JOIN pg_catalog.pg_roles r ON r.rolname = current_user
    WHERE NOT rolsuper AND rolname <> $1::text
    AND (owner IS NULL OR NOT (pg_has_role(owner, 'USAGE')
        AND pg_has_role(owner, CASE WHEN version < 160000 THEN 'MEMBER' ELSE 'SET' END)))
    UNION ALL
    SELECT 4, format('REVOKE %I FROM %I%s', $1::text, $2::text,
        CASE WHEN version >= 160000 THEN format(' GRANTED BY %I', pg_get_userbyid(grantor)) END)
    FROM role JOIN pg_catalog.pg_auth_members ON roleid = owner AND member = application
) statement (place, sql) ORDER BY place, sql";

const DATABASE: &str = "
, it AS (
    SELECT datname, grantee, privilege_type FROM pg_catalog.pg_database
    CROSS JOIN LATERAL aclexplode(coalesce(datacl, acldefault('d', datdba)))
    WHERE datname = current_database()
)
SELECT sql FROM (
    SELECT 1, format('REVOKE %s ON DATABASE %I FROM PUBLIC',
        string_agg(privilege_type, ', ' ORDER BY privilege_type), datname)
    FROM it WHERE grantee = 0 GROUP BY datname
    UNION ALL
    SELECT 2, format('REVOKE CREATE ON DATABASE %I FROM %I', datname, $2::text)
    FROM role, it WHERE grantee = application AND privilege_type = 'CREATE'
    UNION ALL
    SELECT 3, format('GRANT %s ON DATABASE %I TO %I',
        string_agg(privilege, ', ' ORDER BY privilege), current_database(), name)
    FROM role, unnest(ARRAY[$1::text, $1::text, $1::text, $2::text],
        ARRAY[owner, owner, owner, application],
        ARRAY['CONNECT', 'CREATE', 'TEMPORARY', 'CONNECT']) wanted (name, id, privilege)
    WHERE NOT EXISTS (SELECT FROM it WHERE grantee = id AND privilege_type = privilege)
    GROUP BY name
    UNION ALL
    SELECT 4, format('REVOKE CREATE ON SCHEMA public FROM %s',
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', $2::text) END)
    FROM role, pg_catalog.pg_namespace
    CROSS JOIN LATERAL aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
    WHERE nspname = 'public' AND privilege_type = 'CREATE' AND grantee IN (0, application)
    UNION ALL
    SELECT 5, format('GRANT EXECUTE ON FUNCTION %s TO %I', it.function, $2::text)
    FROM role, to_regprocedure('pg_catalog.pg_get_backend_memory_contexts()') it (function)
    WHERE has_function_privilege(it.function, 'EXECUTE WITH GRANT OPTION')
    AND (application IS NULL OR NOT has_function_privilege(application, it.function, 'EXECUTE'))
) statement (place, sql) ORDER BY place, sql";

/// $3 is an array of classes, kinds and privileges. Default privileges without a schema are for all
/// schemas.
const DEFAULTS: &str = "
(SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I GRANT %s ON %s TO %I', $1::text, privileges,
    kind, $2::text)
FROM role, json_to_recordset($3::text::json) wanted (class text, kind text, privileges text)
WHERE EXISTS (SELECT FROM unnest(string_to_array(privileges, ', ')) privilege
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_default_acl d CROSS JOIN LATERAL aclexplode(defaclacl) a
        WHERE d.defaclrole = owner AND d.defaclnamespace = 0 AND d.defaclobjtype::text = class
        AND a.grantee = application AND a.privilege_type = privilege))
ORDER BY array_position(ARRAY['n', 'r', 'S', 'f', 'T'], class))
UNION ALL
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %I REVOKE %s ON %s FROM %I', $1::text,
    string_agg(privilege_type, ', ' ORDER BY privilege_type), kind, $2::text)
FROM role, json_to_recordset($3::text::json) wanted (class text, kind text, privileges text),
    pg_catalog.pg_default_acl d CROSS JOIN LATERAL aclexplode(defaclacl) a
WHERE d.defaclrole = owner AND d.defaclnamespace = 0 AND d.defaclobjtype::text = class
AND a.grantee = application AND privilege_type <> ALL (string_to_array(privileges, ', '))
GROUP BY kind";

/// The schemas $3, which an administrator may have created.
const EXTENSIONS: &str = "
SELECT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, name)
FROM role, unnest(ARRAY[$1::text, $2::text], ARRAY[owner, application]) it (name, id),
    pg_catalog.pg_namespace
WHERE nspname IN (SELECT json_array_elements_text($3::text::json))
AND id IS DISTINCT FROM nspowner
AND NOT EXISTS (SELECT FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
    WHERE grantee IN (0, id) AND privilege_type = 'USAGE')
ORDER BY 1";

const OTHER_DATABASES: &str = "
SELECT datname::text, format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', datname)
FROM pg_catalog.pg_database
WHERE datallowconn AND datname <> current_database()
AND EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))
    WHERE grantee = 0 AND privilege_type = 'CONNECT')
ORDER BY 1";

/// What the application's role may do through other roles.
const RIGHTS: &str = "
SELECT has_database_privilege(application, current_database(), 'CREATE'),
    coalesce((SELECT has_schema_privilege(application, oid, 'CREATE') FROM pg_catalog.pg_namespace
        WHERE nspname = 'public'), false),
    pg_has_role(application, owner, 'MEMBER'),
    (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]') FROM pg_catalog.pg_auth_members
        JOIN pg_catalog.pg_roles r ON r.oid = roleid WHERE member = application)
FROM role";

impl Roles {
    /// The roles of the options, or those of default names.
    pub(super) async fn read(
        db: &impl ConnectionTrait,
        options: &SetupOptions,
    ) -> Result<Self, SetupError> {
        let sql = "SELECT current_database()::text, current_user::text, rolname::text, rolsuper
             FROM pg_catalog.pg_roles";
        let all = rows(db, sql, []).await?;
        let (mut database, mut current) = (String::new(), String::new());
        let mut known: Vec<(String, bool)> = Vec::new();
        for row in &all {
            (database, current) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            known.push((row.try_get_by_index(2)?, row.try_get_by_index(3)?));
        }
        let named = |given: &Option<RoleName>, suffix: &str| match given {
            Some(role) => Ok(role.clone()),
            None => format!("{database}_{suffix}")
                .parse()
                .map_err(|_| SetupError::NoDefaultName { database: database.clone() }),
        };
        let owner = named(&options.owner_role, "owner")?;
        let application = named(&options.app_role, "app")?;
        if owner == application {
            return Err(SetupError::OneRole(owner.to_string()));
        }
        if application.as_str() == current {
            return Err(SetupError::OwnRole(current));
        }
        let exists = |role: &RoleName| known.iter().any(|(name, _)| name == role.as_str());
        let is_super =
            |role: &RoleName| known.iter().any(|(name, it)| name == role.as_str() && *it);
        if is_super(&application) {
            return Err(SetupError::Superuser(application.to_string()));
        }
        let exist = exists(&owner) && exists(&application);
        Ok(Self { database, owner, application, exist })
    }

    pub(super) fn owner(&self) -> &RoleName {
        &self.owner
    }

    pub(super) fn application(&self) -> &RoleName {
        &self.application
    }

    /// $1 and $2.
    pub(super) fn values(&self) -> [Value; 2] {
        [self.owner.as_str().into(), self.application.as_str().into()]
    }

    async fn statements(
        &self,
        db: &impl ConnectionTrait,
        sql: &str,
        third: Option<String>,
    ) -> Result<Vec<String>, DbErr> {
        let values = self.values().into_iter().chain(third.map(Value::from));
        column(db, format!("{ROLES}{sql}"), values).await
    }

    /// Creates the roles, and takes attributes from that of the application.
    pub(super) async fn create(&self, db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
        self.statements(db, CREATE, None).await
    }

    /// Privileges on the database and its schema `public`.
    pub(super) async fn database(&self, db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
        self.statements(db, DATABASE, None).await
    }

    /// Default privileges of the owner.
    pub(super) async fn defaults(&self, db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
        let wanted = GRANTED.iter().map(|(class, kind, privileges)| {
            let privileges = privileges.join(", ");
            serde_json::json!({ "class": class, "kind": kind, "privileges": privileges })
        });
        let wanted = serde_json::Value::from_iter(wanted).to_string();
        self.statements(db, DEFAULTS, Some(wanted)).await
    }

    /// The right to use the schemas of extensions.
    pub(super) async fn extensions(
        &self,
        db: &impl ConnectionTrait,
        migrator: &DynMigrator,
    ) -> Result<Vec<String>, DbErr> {
        let schemas = migrator.extensions().iter().map(Extension::schema);
        let schemas = serde_json::Value::from_iter(schemas).to_string();
        self.statements(db, EXTENSIONS, Some(schemas)).await
    }

    /// The other databases to which every role may connect, and the statements that change it.
    pub(super) async fn other_databases(
        &self,
        db: &impl ConnectionTrait,
    ) -> Result<Vec<(String, String)>, DbErr> {
        pairs(db, OTHER_DATABASES, []).await
    }

    /// Returns an error if the application's role has more rights than it should.
    pub(super) async fn confirm(&self, db: &impl ConnectionTrait) -> Result<(), SetupError> {
        let found = rows(db, format!("{ROLES}{RIGHTS}"), self.values()).await?;
        let Some(row) = found.first() else { return Ok(()) };
        let all = ["may create schemas", "may create in schema public", "may become the owner"];
        let mut rights = Vec::new();
        for (place, right) in all.into_iter().enumerate() {
            if row.try_get_by_index(place)? {
                rights.push(right.to_owned());
            }
        }
        if rights.is_empty() {
            return Ok(());
        }
        let member_of: serde_json::Value = row.try_get_by_index(3)?;
        let names = member_of.as_array().into_iter().flatten();
        let member_of = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
        Err(SetupError::StillPrivileged { role: self.application.clone(), rights, member_of })
    }

    pub(super) fn plan(self, steps: Vec<SetupStep>, other_databases: Vec<String>) -> SetupPlan {
        let Self { database, owner, application, exist } = self;
        SetupPlan { database, owner, application, roles_exist: exist, steps, other_databases }
    }
}
