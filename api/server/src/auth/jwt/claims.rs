use serde_json::{Map, Value};
use tenantry::{Scope, Scopes, Slug, TenantId};

use super::JwtConfig;

/// The claims of a verified token.
pub(super) type Claims = Map<String, Value>;

/// Whom a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Name in the log and in the records of changes.
    pub(super) name: String,
    pub(super) holder: Holder,
    pub(super) scopes: Scopes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    Operator,
    Tenant(TenantName),
    /// The token names no tenant, or not a valid one.
    None,
}

/// The name of a tenant in a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TenantName {
    Slug(Slug),
    /// A slug may look like an id, too: then it is taken as an id, so that the tenant of the slug
    /// does not get the tokens of another.
    Id(TenantId),
}

impl Identity {
    pub(super) fn read(claims: &Claims, config: &JwtConfig) -> Self {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or("unknown");
        let is_operator = config.operator_claim.as_ref().is_some_and(|(name, value)| {
            claims.get(name).is_some_and(|claim| texts(claim).any(|text| text == value))
        });
        let tenant = claims.get(&config.tenant_claim).and_then(Value::as_str);
        let holder = match tenant.and_then(TenantName::parse) {
            _ if is_operator => Holder::Operator,
            Some(tenant) => Holder::Tenant(tenant),
            None => Holder::None,
        };
        let scopes = claims.get(&config.scope_claim).into_iter().flat_map(texts);
        let scopes = scopes.filter_map(|text| text.strip_prefix(&*config.scope_prefix));
        let scopes = scopes.filter_map(|text| text.parse::<Scope>().ok()).collect();
        Self { name: format!("jwt:{subject}"), holder, scopes }
    }
}

impl TenantName {
    fn parse(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(id) => Some(Self::Id(id)),
            Err(_) => text.parse().ok().map(Self::Slug),
        }
    }
}

/// The values of a claim: words separated by blanks (RFC 8693, 4.2), or a list of texts.
fn texts(claim: &Value) -> impl Iterator<Item = &str> {
    let words = claim.as_str().into_iter().flat_map(|text| text.split(' '));
    let listed = claim.as_array().into_iter().flatten().filter_map(Value::as_str);
    words.chain(listed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ID: &str = "01a208c3-96c5-77c7-976d-0f6c9d7c9f9e";

    fn config() -> JwtConfig {
        JwtConfig::new("/jwks.json".parse().unwrap(), "https://id.test", "guards")
    }

    fn read(claims: Value, config: &JwtConfig) -> Identity {
        let Value::Object(claims) = claims else { panic!("{claims}") };
        Identity::read(&claims, config)
    }

    #[test]
    fn the_tenant_is_a_slug_or_an_id_and_nothing_else() {
        let slug = |text: &str| Holder::Tenant(TenantName::Slug(text.parse().unwrap()));
        let id = Holder::Tenant(TenantName::Id(ID.parse().unwrap()));
        for (claim, holder) in [
            (json!("acme"), slug("acme")),
            (json!(ID), id.clone()),
            (json!(ID.replace('-', "")), id),
            (json!("Acme"), Holder::None),
            (json!(""), Holder::None),
            (json!("acme globex"), Holder::None),
            (json!(["acme"]), Holder::None),
            (json!(null), Holder::None),
            (json!(1), Holder::None),
            (json!("*"), Holder::None),
        ] {
            assert_eq!(read(json!({ "tenant": claim }), &config()).holder, holder, "{claim}");
        }
        assert_eq!(read(json!({}), &config()).holder, Holder::None);
        let config = JwtConfig { tenant_claim: "https://id.test/org".to_owned(), ..config() };
        let claims = json!({ "tenant": "globex", "https://id.test/org": "acme" });
        assert_eq!(read(claims, &config).holder, slug("acme"));
    }

    #[test]
    fn scopes_are_words_or_a_list_with_the_prefix() {
        let scopes = |claim: Value, prefix: &str| {
            let config = JwtConfig { scope_prefix: prefix.to_owned(), ..config() };
            read(json!({ "scope": claim }), &config).scopes.to_string()
        };
        assert_eq!(scopes(json!("openid write read"), ""), "read write");
        assert_eq!(scopes(json!(["admin", 1, "read"]), ""), "read admin");
        assert_eq!(scopes(json!("guards:read write guards:admin"), "guards:"), "read admin");
        for claim in [json!(""), json!("READ reads"), json!(true), json!({ "read": true })] {
            assert_eq!(scopes(claim.clone(), ""), "", "{claim}");
        }
        assert!(read(json!({}), &config()).scopes.is_empty());
    }

    #[test]
    fn only_the_configured_claim_makes_an_operator() {
        let claims = json!({ "roles": ["ops"], "operator": true, "scope": "admin" });
        assert_eq!(read(claims.clone(), &config()).holder, Holder::None);
        let config = |value: &str| JwtConfig {
            operator_claim: Some(("roles".to_owned(), value.to_owned())),
            ..config()
        };
        assert_eq!(read(claims.clone(), &config("ops")).holder, Holder::Operator);
        assert_eq!(read(claims.clone(), &config("op")).holder, Holder::None);
        let words = json!({ "roles": "dev ops", "tenant": "acme" });
        assert_eq!(read(words, &config("ops")).holder, Holder::Operator);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z *:._-]{0,20}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(Value::from("acme")),
            Just(Value::from("ops")),
            Just(Value::from("read")),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever an issuer puts into a token: no claim gives more than it says.
        #[test]
        fn claims_of_any_shape_grant_only_what_they_name(
            tenant in any_json(), scope in any_json(), roles in any_json(), sub in any_json(),
        ) {
            let config = JwtConfig {
                operator_claim: Some(("roles".to_owned(), "ops".to_owned())),
                ..config()
            };
            let names = |claim: &Value, wanted: &str| match claim {
                Value::String(text) => text.split(' ').any(|word| word == wanted),
                Value::Array(list) => list.iter().any(|it| it == wanted),
                _ => false,
            };
            let claims =
                json!({ "tenant": tenant, "scope": scope, "roles": roles, "sub": sub });
            let identity = read(claims, &config);
            prop_assert_eq!(identity.holder == Holder::Operator, names(&roles, "ops"));
            if let Holder::Tenant(TenantName::Slug(slug)) = &identity.holder {
                prop_assert_eq!(&tenant, slug.as_str());
            }
            for wanted in Scope::ALL {
                let is_named = names(&scope, wanted.as_str());
                prop_assert_eq!(identity.scopes.contains(wanted), is_named);
            }
        }
    }
}
