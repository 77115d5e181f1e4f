use std::fmt;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::Tenancy;

/// `registry.tenants` stands for all tables of the registry, which the same role creates. A member
/// of a role has its rights, or takes them by `SET ROLE`; from PostgreSQL 16 on it may lack both, unless
/// it can give them to itself.
const ASK: &str = "SELECT r.rolname::text, r.rolsuper,
    has_database_privilege(current_database(), 'CREATE'),
    EXISTS (SELECT FROM (
            SELECT relowner FROM pg_catalog.pg_class WHERE oid = to_regclass('registry.tenants')
            UNION SELECT nspowner FROM pg_catalog.pg_namespace n
            JOIN registry.tenants t ON t.schema = n.nspname
        ) owner (oid)
        WHERE pg_has_role(oid, 'USAGE')
        OR pg_has_role(oid, CASE WHEN current_setting('server_version_num')::integer < 160000
            THEN 'MEMBER' ELSE 'SET' END)
        OR pg_has_role(oid, 'MEMBER WITH ADMIN OPTION')),
    coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_catalog.pg_namespace
        WHERE nspname = 'public'), false)
    FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";

/// The role that statements of tenants are sent with, and what it may do beyond them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServingRole {
    /// Name of the role.
    pub name: String,
    /// Whether it is a superuser.
    pub is_superuser: bool,
    /// Whether it may create schemas.
    pub may_create_schemas: bool,
    /// Whether it owns the tables of the registry or the schema of a tenant, or may become a role that
    /// does.
    pub owns_tables: bool,
    /// Whether it may create objects in the schema `public`.
    pub may_create_in_public: bool,
}

/// A right of the [serving role](ServingRole) that no statement of a tenant needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExcessRight {
    /// It is a superuser.
    Superuser,
    /// It owns the tables.
    Owner,
    /// It may create in the schema `public`.
    CreateInPublic,
}

impl fmt::Display for ExcessRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superuser => {
                "the role that serves tenants is a superuser: PostgreSQL refuses none of its \
                 statements, in no database; serve with a role that reads and writes rows only"
            }
            Self::Owner => {
                "the role that serves tenants owns their tables, so it may change and drop them; \
                 serve with another role, and configure the owner for creations and drops"
            }
            Self::CreateInPublic => {
                "the role that serves tenants may create objects in schema public, where other \
                 programs find them; revoke CREATE on schema public"
            }
        })
    }
}

impl ServingRole {
    pub(super) async fn read(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let ask = Statement::from_string(DbBackend::Postgres, ASK);
        let Some(row) = db.query_one_raw(ask).await? else { return Ok(Self::default()) };
        Ok(Self {
            name: row.try_get_by_index(0)?,
            is_superuser: row.try_get_by_index(1)?,
            may_create_schemas: row.try_get_by_index(2)?,
            owns_tables: row.try_get_by_index(3)?,
            may_create_in_public: row.try_get_by_index(4)?,
        })
    }

    /// The rights that it should not have. A superuser has all others, which are not listed.
    #[must_use]
    pub fn excess_rights(&self) -> Vec<ExcessRight> {
        if self.is_superuser {
            return vec![ExcessRight::Superuser];
        }
        let others = [
            (self.owns_tables, ExcessRight::Owner),
            (self.may_create_in_public, ExcessRight::CreateInPublic),
        ];
        others.into_iter().filter_map(|(has, right)| has.then_some(right)).collect()
    }
}

impl Tenancy {
    /// The role of the connections that serve tenants, as it was when this connected. A program
    /// that serves should log its excess rights:
    ///
    /// ```no_run
    /// # fn example(tenancy: &tenantry::Tenancy) {
    /// let role = tenancy.serving_role();
    /// for right in role.excess_rights() {
    ///     tracing::warn!(role = role.name, "{right}");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn serving_role(&self) -> &ServingRole {
        &self.inner.role
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superuser_is_named_once() {
        let all = ServingRole {
            is_superuser: true,
            owns_tables: true,
            may_create_in_public: true,
            ..ServingRole::default()
        };
        assert_eq!(all.excess_rights(), [ExcessRight::Superuser]);
        let role = ServingRole { is_superuser: false, ..all };
        assert_eq!(role.excess_rights(), [ExcessRight::Owner, ExcessRight::CreateInPublic]);
        assert_eq!(ServingRole::default().excess_rights(), []);
    }
}
