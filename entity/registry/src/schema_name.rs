use std::{fmt, str::FromStr};

use sea_orm::{DeriveValueType, sea_query::ValueTypeErr};

use crate::{NameError, Slug};

/// Reserved key words of PostgreSQL 14 to 18 (manual, appendix C: "reserved" and "reserved (can
/// be function or type)"), which would need quotes as a schema name. A test compares them with
/// `pg_get_keywords()`.
#[rustfmt::skip]
pub const RESERVED_WORDS: [&str; 101] = [
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "authorization",
    "binary", "both", "case", "cast", "check", "collate", "collation", "column", "concurrently",
    "constraint", "create", "cross", "current_catalog", "current_date", "current_role",
    "current_schema", "current_time", "current_timestamp", "current_user", "default", "deferrable",
    "desc", "distinct", "do", "else", "end", "except", "false", "fetch", "for", "foreign", "freeze",
    "from", "full", "grant", "group", "having", "ilike", "in", "initially", "inner", "intersect",
    "into", "is", "isnull", "join", "lateral", "leading", "left", "like", "limit", "localtime",
    "localtimestamp", "natural", "not", "notnull", "null", "offset", "on", "only", "or", "order",
    "outer", "overlaps", "placing", "primary", "references", "returning", "right", "select",
    "session_user", "similar", "some", "symmetric", "system_user", "table", "tablesample", "then",
    "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "verbose", "when",
    "where", "window", "with",
];

/// Precedes a slug that begins with a digit.
const DIGIT_PREFIX: &str = "t_";

/// The name of a PostgreSQL schema that holds one tenant, or the tables that exist once. It is the
/// only way an identifier from outside reaches the text of a statement.
///
/// A schema that is created for a tenant has a [new name](Self::new), which means the same with and
/// without quotes. A schema that existed before its tenant may have any name, see
/// [`FromStr`](#impl-FromStr-for-SchemaName).
///
/// ```
/// use tenantry_registry::{SchemaName, Slug};
/// let slug: Slug = "tenant-1".parse()?;
/// assert_eq!(SchemaName::for_slug("", &slug)?.quoted(), r#""tenant_1""#);
/// assert_eq!(SchemaName::for_slug("city_", &slug)?.as_str(), "city_tenant_1");
/// assert_eq!(SchemaName::for_slug("", &"3m".parse()?)?.as_str(), "t_3m");
/// assert_eq!("Joe\"s Diner".parse::<SchemaName>()?.quoted(), r#""Joe""s Diner""#);
/// assert!("public".parse::<SchemaName>().is_err());
/// # Ok::<(), tenantry_registry::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, DeriveValueType)]
#[sea_orm(
    value_type = "String",
    from_str = "SchemaName::from_stored",
    to_str = "SchemaName::to_stored"
)]
pub struct SchemaName(String);

/// The kind of name in errors.
const KIND: &str = "schema name";

impl SchemaName {
    /// Maximum length, in bytes (`NAMEDATALEN` − 1).
    pub const MAX_LEN: usize = 63;

    const RESERVED_SCHEMAS: [&str; 6] =
        ["citus", "citus_internal", "columnar", "information_schema", "public", super::SCHEMA];

    /// `shared`, the default schema of the tables that exist once.
    ///
    /// ```
    /// assert_eq!(tenantry_registry::SchemaName::shared().as_str(), "shared");
    /// ```
    #[must_use]
    pub fn shared() -> Self {
        Self("shared".to_owned())
    }

    /// The name of a schema that is yet to be created: `[a-z_][a-z0-9_]*`, at most 63 bytes (PostgreSQL
    /// manual, 4.1.1), no reserved key word, no name that belongs to PostgreSQL, to the registry or to
    /// an extension.
    ///
    /// # Errors
    /// The name violates one of these rules.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new(KIND, text, rule));
        if !text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')) {
            return refuse(
                "only the lower-case letters a to z, digits and underscores are allowed",
            );
        }
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return refuse("it must begin with a letter or an underscore");
        }
        if RESERVED_WORDS.contains(&text) {
            return refuse(
                "it is a reserved word of SQL; choose another slug or configure a schema prefix",
            );
        }
        text.parse()
    }

    /// The schema of a new tenant: `prefix`, then the slug with `_` for `-`. Without a prefix, a slug
    /// that begins with a digit gets `t_`, since a name that needs no quotes cannot begin so.
    ///
    /// Different slugs give different schemas, as a slug has no `_`, except for slugs such as `3m` and
    /// `t-3m` without a prefix. The second of them gets a [number](Self::numbered).
    ///
    /// # Errors
    /// The result is not a valid schema name.
    pub fn for_slug(prefix: &str, slug: &Slug) -> Result<Self, NameError> {
        let begins_with_digit = slug.as_str().starts_with(|c: char| c.is_ascii_digit());
        let prefix = if prefix.is_empty() && begins_with_digit { DIGIT_PREFIX } else { prefix };
        Self::new(&format!("{prefix}{}", slug.as_str().replace('-', "_")))
    }

    /// The `n`th name to try if this one is taken: for 1 the name itself, else with the suffix `_n`,
    /// shortened if necessary.
    ///
    /// ```
    /// use tenantry_registry::SchemaName;
    /// let name: SchemaName = "tenant_1".parse()?;
    /// assert_eq!(name.numbered(1)?.as_str(), "tenant_1");
    /// assert_eq!(name.numbered(2)?.as_str(), "tenant_1_2");
    /// # Ok::<(), tenantry_registry::NameError>(())
    /// ```
    ///
    /// # Errors
    /// The result is not a valid schema name.
    pub fn numbered(&self, n: u32) -> Result<Self, NameError> {
        if n <= 1 {
            return Ok(self.clone());
        }
        let suffix = format!("_{n}");
        let kept = self.0.floor_char_boundary(Self::MAX_LEN - suffix.len());
        format!("{}{suffix}", &self.0[..kept]).parse()
    }

    /// The name without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a quoted identifier, for use in a statement.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }

    fn from_stored(text: &str) -> Result<Self, ValueTypeErr> {
        text.parse().map_err(|_| ValueTypeErr)
    }

    fn to_stored(&self) -> &str {
        &self.0
    }
}

/// Parses the name of an existing schema: any name that PostgreSQL allows, except the schemas of
/// PostgreSQL, of the registry and of extensions, the [placeholder](super::PLACEHOLDER), and `$user`,
/// which means another schema in a `search_path`. Control characters are refused, since messages show
/// the name.
impl FromStr for SchemaName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new(KIND, text, rule));
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > Self::MAX_LEN {
            return refuse("it is longer than the 63 bytes that PostgreSQL keeps of a name");
        }
        if text.contains(char::is_control) {
            return refuse("it contains a control character; rename the schema");
        }
        if text.starts_with("pg_") || Self::RESERVED_SCHEMAS.contains(&text) {
            return refuse("this name belongs to PostgreSQL, to an extension or to the registry");
        }
        if [super::PLACEHOLDER, "$user"].contains(&text) {
            return refuse("this name has another meaning in statements; rename the schema");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
