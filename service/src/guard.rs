//! Guards: the people a tenant employs.

use entity::guard::{ActiveModel, Column, Entity};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, Select, Set,
    sea_query::{Expr, LikeExpr, extension::postgres::PgExpr},
};
use serde::Deserialize;
use uuid::Uuid;
use validator::{Validate, ValidationErrors};

pub use entity::guard::Model as Guard;

use crate::{
    Error,
    input::{line, present, trim},
};
use tenantry::{
    Input, Slug, Tenancy, TenantScope,
    page::{self, Page, PageRequest},
};

/// A new guard. Both fields are required; surrounding white space is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewGuard {
    /// Name, 1 to 200 characters.
    #[validate(required(message = "is required"), custom(function = line))]
    pub name: Option<String>,
    /// What the guard does, 1 to 200 characters.
    #[validate(required(message = "is required"), custom(function = line))]
    pub position: Option<String>,
}

/// A change of a guard. Absent fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct GuardChange {
    /// Name, 1 to 200 characters.
    #[serde(deserialize_with = "present")]
    #[validate(custom(function = line))]
    pub name: Option<String>,
    /// What the guard does, 1 to 200 characters.
    #[serde(deserialize_with = "present")]
    #[validate(custom(function = line))]
    pub position: Option<String>,
}

impl Input for NewGuard {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        trim(&mut self.name);
        trim(&mut self.position);
        self.validate()
    }
}

impl Input for GuardChange {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        trim(&mut self.name);
        trim(&mut self.position);
        self.validate()
    }
}

/// Filter of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Exactly this position.
    pub position: Option<String>,
    /// Part of the name, in upper or lower case.
    pub search: Option<String>,
}

/// Creates a guard.
///
/// # Errors
/// [`Error::Invalid`] with all invalid fields; [`Error::Tenancy`].
pub async fn create(tenancy: &Tenancy, slug: &Slug, input: NewGuard) -> Result<Guard, Error> {
    create_in(&tenancy.tenant(slug).await?, input).await
}

/// [`create`] in the caller's scope.
///
/// # Errors
/// As for [`create`].
pub async fn create_in(scope: &impl TenantScope, mut input: NewGuard) -> Result<Guard, Error> {
    input.check()?;
    let guard = ActiveModel {
        name: Set(input.name.unwrap_or_default()),
        position: Set(input.position.unwrap_or_default()),
        ..Default::default()
    };
    Ok(guard.insert(scope).await?)
}

/// The guard with this id.
///
/// # Errors
/// [`Error::Tenancy`].
pub async fn get(tenancy: &Tenancy, slug: &Slug, id: Uuid) -> Result<Option<Guard>, Error> {
    get_in(&tenancy.tenant(slug).await?, id).await
}

/// [`get`] in the caller's scope.
///
/// # Errors
/// As for [`get`].
pub async fn get_in(scope: &impl TenantScope, id: Uuid) -> Result<Option<Guard>, Error> {
    Ok(Entity::find_by_id(id).one(scope).await?)
}

/// A page of guards, ordered by id.
///
/// # Errors
/// [`Error::Tenancy`].
pub async fn list(
    tenancy: &Tenancy,
    slug: &Slug,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<Guard>, Error> {
    list_in(&tenancy.tenant(slug).await?, filter, page).await
}

/// [`list`] in the caller's scope.
///
/// # Errors
/// As for [`list`].
pub async fn list_in(
    scope: &impl TenantScope,
    filter: &Filter,
    page: PageRequest,
) -> Result<Page<Guard>, Error> {
    Ok(page::fetch(scope, filter.select(), Column::Id, page, |guard| guard.id).await?)
}

/// Number of guards.
///
/// # Errors
/// [`Error::Tenancy`].
pub async fn count(tenancy: &Tenancy, slug: &Slug, filter: &Filter) -> Result<u64, Error> {
    count_in(&tenancy.tenant(slug).await?, filter).await
}

/// [`count`] in the caller's scope.
///
/// # Errors
/// As for [`count`].
pub async fn count_in(scope: &impl TenantScope, filter: &Filter) -> Result<u64, Error> {
    Ok(filter.select().count(scope).await?)
}

/// Changes a guard and returns it.
///
/// # Errors
/// [`Error::Invalid`] with all invalid fields, [`Error::NotFound`], [`Error::Tenancy`].
pub async fn update(
    tenancy: &Tenancy,
    slug: &Slug,
    id: Uuid,
    change: GuardChange,
) -> Result<Guard, Error> {
    update_in(&tenancy.tenant(slug).await?, id, change).await
}

/// [`update`] in the caller's scope.
///
/// # Errors
/// As for [`update`].
pub async fn update_in(
    scope: &impl TenantScope,
    id: Uuid,
    mut change: GuardChange,
) -> Result<Guard, Error> {
    change.check()?;
    let not_found = Error::NotFound { noun: "guard", id };
    if change == GuardChange::default() {
        return get_in(scope, id).await?.ok_or(not_found);
    }
    let mut guard = ActiveModel { id: Set(id), ..Default::default() };
    if let Some(name) = change.name {
        guard.name = Set(name);
    }
    if let Some(position) = change.position {
        guard.position = Set(position);
    }
    match guard.update(scope).await {
        Err(sea_orm::DbErr::RecordNotUpdated) => Err(not_found),
        other => Ok(other?),
    }
}

/// Deletes a guard and its shifts.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Tenancy`].
pub async fn delete(tenancy: &Tenancy, slug: &Slug, id: Uuid) -> Result<(), Error> {
    delete_in(&tenancy.tenant(slug).await?, id).await
}

/// [`delete`] in the caller's scope.
///
/// # Errors
/// As for [`delete`].
pub async fn delete_in(scope: &impl TenantScope, id: Uuid) -> Result<(), Error> {
    match Entity::delete_by_id(id).exec(scope).await?.rows_affected {
        0 => Err(Error::NotFound { noun: "guard", id }),
        _ => Ok(()),
    }
}

impl Filter {
    fn select(&self) -> Select<Entity> {
        let mut select = Entity::find();
        let mut texts = self.position.iter().chain(&self.search);
        if texts.any(|text| text.as_bytes().contains(&0)) {
            // PostgreSQL's text cannot contain NUL.
            return select.filter(Expr::value(false));
        }
        if let Some(position) = &self.position {
            select = select.filter(Column::Position.eq(position));
        }
        if let Some(text) = &self.search {
            // Special characters of LIKE.
            let text = text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
            let pattern = LikeExpr::new(format!("%{text}%"));
            select = select.filter(Column::Name.into_expr().ilike(pattern));
        }
        select
    }
}
