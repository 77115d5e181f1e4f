//! Properties of slugs, schema names, host names, display names and tags.

use proptest::prelude::*;
use tenantry_registry::{DisplayName, Hostname, SchemaName, Slug, Tag};

/// Arbitrary and hostile input.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z0-9_\\-\"'; .]{0,70}",
        "[a-z]{1,8}[\"';\\\\$\u{0}\n]{1,3}[a-z]{0,8}",
        "-{0,3}[A-Z0-9_é]{1,60}",
    ]
}

proptest! {
    #[test]
    fn accepted_names_follow_every_rule(text in hostile()) {
        if let Ok(slug) = text.parse::<Slug>() {
            prop_assert_eq!(slug.as_str(), &text);
            prop_assert!((1..=48).contains(&text.len()));
            prop_assert!(!text.starts_with('-') && !text.ends_with('-'));
            prop_assert!(text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')));
        }
        if let Ok(schema) = text.parse::<SchemaName>() {
            prop_assert!(schema.as_str().len() <= 63);
            prop_assert_eq!(schema.as_str(), &text);
            let quoted = schema.quoted();
            prop_assert_eq!(quoted[1..quoted.len() - 1].replace("\"\"", ""), text.replace('"', ""));
            prop_assert!(!text.contains(char::is_control) && !text.starts_with("pg_"));
        }
        if let Ok(schema) = SchemaName::new(&text) {
            prop_assert_eq!(schema.quoted(), format!("\"{text}\""));
            prop_assert!(text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')));
        }
        if let Ok(host) = text.parse::<Hostname>() {
            prop_assert!(host.as_str().len() <= 253 && host.as_str().contains('.'));
            prop_assert_eq!(host.as_str().to_lowercase(), host.as_str());
        }
        if let Ok(name) = text.parse::<DisplayName>() {
            prop_assert_eq!(name.as_str(), text.trim());
            prop_assert!((1..=200).contains(&name.as_str().chars().count()));
            prop_assert!(!name.as_str().contains(char::is_control));
        }
        if let Ok(tag) = text.parse::<Tag>() {
            prop_assert_eq!(tag.as_str(), &text);
            prop_assert!((1..=63).contains(&text.len()));
            prop_assert!(text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()));
            prop_assert!(text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')));
        }
    }

    #[test]
    fn errors_show_the_input_and_the_rule_on_one_line(text in hostile()) {
        let messages = [
            text.parse::<Slug>().err(),
            text.parse::<SchemaName>().err(),
            text.parse::<Hostname>().err(),
            text.parse::<DisplayName>().err(),
            text.parse::<Tag>().err(),
        ];
        for error in messages.into_iter().flatten() {
            let message = error.to_string();
            prop_assert!(message.contains(" is refused: ") && message.contains(error.rule()));
            prop_assert!(!message.contains(char::is_control), "{message:?}");
            let shown: String = text.chars().take(80).collect();
            let shown = format!("{shown:?}");
            prop_assert!(message.contains(&shown[..shown.len() - 1]), "{message}");
        }
    }

    #[test]
    fn different_slugs_give_different_schemas(
        one in "(t-)?[a-c0-3]([a-c0-3-]{0,1}[a-c0-3])?",
        two in "(t-)?[a-c0-3]([a-c0-3-]{0,1}[a-c0-3])?",
        prefix in "(t_|city_)?",
    ) {
        if let (Ok(one), Ok(two)) = (one.parse::<Slug>(), two.parse::<Slug>())
            && let Ok(a) = SchemaName::for_slug(&prefix, &one)
            && let Ok(b) = SchemaName::for_slug(&prefix, &two)
        {
            // `3m` and `t-3m`, without a prefix.
            let [one, two] = [one.as_str(), two.as_str()];
            let added = |one: &str, two: &str| {
                let digit = one.starts_with(|c: char| c.is_ascii_digit());
                prefix.is_empty() && digit && two.strip_prefix("t-") == Some(one)
            };
            prop_assert_eq!(a == b, one == two || added(one, two) || added(two, one));
        }
    }

    #[test]
    fn numbered_names_are_schema_names_and_differ(
        name in "[a-z_][a-z0-9_]{0,62}", one in 1u32.., two in 1u32..,
    ) {
        if let Ok(name) = SchemaName::new(&name)
            && let (Ok(a), Ok(b)) = (name.numbered(one), name.numbered(two))
        {
            for name in [&a, &b] {
                prop_assert!(name.as_str().len() <= SchemaName::MAX_LEN);
                prop_assert_eq!(&name.as_str().parse::<SchemaName>().unwrap(), name);
            }
            // The name itself may equal its shortened form with a suffix: `a_2` of 63 bytes.
            prop_assert!(a != b || one == two || one == 1 || two == 1);
        }
    }

    #[test]
    fn every_slug_fits_behind_a_prefix_of_15_characters(slug in "[a-z0-9]{48}") {
        let slug: Slug = slug.parse().unwrap();
        prop_assert!(SchemaName::for_slug("", &slug).is_ok());
        prop_assert_eq!(SchemaName::for_slug("customer_of_us_", &slug).unwrap().as_str().len(), 63);
        prop_assert!(SchemaName::for_slug("customers_of_us_", &slug).is_err());
    }
}

#[test]
fn rejects_reserved_names() {
    for slug in ["admin", "www", "public", "registry", "information-schema", "pg", "pg-toast"] {
        let error = slug.parse::<Slug>().unwrap_err().to_string();
        assert_eq!(
            error,
            format!("slug {slug:?} is refused: this word is reserved; choose another")
        );
    }
    for schema in ["public", "registry", "information_schema", "pg_toast", "pg_temp_1", "citus"] {
        assert!(schema.parse::<SchemaName>().is_err(), "{schema}");
        assert!(SchemaName::new(schema).is_err(), "{schema}");
    }
    let long = "ü".repeat(32);
    for schema in ["", "@tenant", "$user", "a\nb", "a\u{1b}[0m", "a\0", &long] {
        assert!(schema.parse::<SchemaName>().is_err(), "{schema:?}");
    }
    for schema in ["Acme Corp", "acme-1", "1a", "a\"b", "a'b", "a,b", "ü", "order", "a.b", "$1"] {
        assert!(schema.parse::<SchemaName>().is_ok(), "{schema:?}");
        assert!(SchemaName::new(schema).is_err(), "{schema:?}");
    }
    // Fine as a slug, but no schema name without a prefix.
    let order: Slug = "order".parse().unwrap();
    assert!(SchemaName::for_slug("", &order).unwrap_err().to_string().contains("reserved word"));
    assert_eq!(SchemaName::for_slug("t_", &order).unwrap().as_str(), "t_order");
}

#[test]
fn a_slug_that_begins_with_a_digit_gets_a_schema_that_begins_with_a_letter() {
    for (slug, prefix, schema) in [
        ("3m", "", "t_3m"),
        ("37-signals", "", "t_37_signals"),
        ("0", "", "t_0"),
        ("3m", "city_", "city_3m"),
        ("3m", "_", "_3m"),
        ("t-3m", "", "t_3m"),
    ] {
        let slug: Slug = slug.parse().unwrap();
        assert_eq!(SchemaName::for_slug(prefix, &slug).unwrap().as_str(), schema, "{slug}");
    }
    for slug in ["-3m", "3m-", "3_m", "3M", "-"] {
        assert!(slug.parse::<Slug>().is_err(), "{slug}");
    }
}

#[test]
fn rejects_incomplete_host_names() {
    for host in ["localhost", "127.0.0.1", "a..b", "-a.com", "a-.com", "a_b.com", "a.com:80", ""] {
        assert!(host.parse::<Hostname>().is_err(), "{host}");
    }
    assert_eq!(
        "XN--Bcher-KVA.Example.".parse::<Hostname>().unwrap().as_str(),
        "xn--bcher-kva.example"
    );
}
