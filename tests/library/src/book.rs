//! `books`: the books of a library.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use tenantry::Input;
use validator::{Validate, ValidationErrors};

/// One book.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Validate, DeriveEntityModel)]
#[sea_orm(schema_name = "@tenant", table_name = "books")]
pub struct Model {
    /// International Standard Book Number, 10 to 17 characters with hyphens.
    #[sea_orm(primary_key, auto_increment = false)]
    #[validate(length(min = 10, max = 17))]
    pub isbn: String,
    /// Title, 1 to 500 characters.
    #[validate(length(min = 1, max = 500))]
    pub title: String,
}

impl ActiveModelBehavior for ActiveModel {}

impl Input for Model {
    fn check(&mut self) -> Result<(), ValidationErrors> {
        self.validate()
    }
}
