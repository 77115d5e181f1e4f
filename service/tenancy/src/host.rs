use tenantry_registry::{Hostname, Slug};

/// The meaning of a `Host` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// The base domain itself, for administration.
    Base,
    /// A subdomain of the base domain that is a valid slug.
    Slug(Slug),
    /// A reserved subdomain.
    Reserved,
    /// A hostname outside the base domain.
    Custom(Hostname),
    /// Neither a valid slug nor a valid hostname.
    Unknown,
}

impl Host {
    /// Parses a `Host` header (RFC 9110, 7.2). A port and a trailing dot are ignored, and so is the
    /// case of letters. Only one label may precede the base domain.
    ///
    /// ```
    /// use tenantry::Host;
    /// assert_eq!(Host::parse("tenant-1.localhost:3000", "localhost"), Host::Slug("tenant-1".parse()?));
    /// assert_eq!(Host::parse("www.localhost", "localhost"), Host::Reserved);
    /// assert_eq!(Host::parse("a.b.localhost", "localhost"), Host::Unknown);
    /// # Ok::<(), tenantry::NameError>(())
    /// ```
    #[must_use]
    pub fn parse(header: &str, base_domain: &str) -> Self {
        let name = match header.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => header,
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if name == base_domain {
            return Self::Base;
        }
        // A hostname may end with a dot, which has been removed already.
        if name.ends_with('.') {
            return Self::Unknown;
        }
        match name.strip_suffix(base_domain).and_then(|rest| rest.strip_suffix('.')) {
            Some(label) if Slug::is_reserved(label) => Self::Reserved,
            Some(label) => label.parse().map_or(Self::Unknown, Self::Slug),
            None => name.parse().map_or(Self::Unknown, Self::Custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tenantry_registry::Slug;

    use super::Host;

    proptest! {
        // Also a fuzz target, `tests/fuzz/targets/host.rs`.
        #[test]
        fn a_header_has_one_meaning_that_reads_back_from_its_text(
            header in prop_oneof![
                any::<String>(),
                "[a-zA-Z0-9_.:-]{0,20}(\\.)?(example\\.com|EXAMPLE\\.org)?[.:0-9]{0,4}",
            ]
        ) {
            let (base, lower) = ("example.com", header.to_ascii_lowercase());
            let host = Host::parse(&header, base);
            match &host {
                Host::Base => prop_assert!(lower.starts_with(base)),
                Host::Slug(slug) => {
                    prop_assert!(!Slug::is_reserved(slug.as_str()));
                    let name = format!("{slug}.{base}");
                    prop_assert!(lower.starts_with(&name));
                    prop_assert_eq!(&Host::parse(&name, base), &host);
                }
                Host::Custom(name) => {
                    let name = name.as_str();
                    prop_assert!(lower.starts_with(name) && name != base);
                    prop_assert!(!name.ends_with(".example.com"), "{} is below the base", name);
                    prop_assert_eq!(&Host::parse(name, base), &host);
                }
                Host::Reserved | Host::Unknown => {}
            }
        }
    }

    #[test]
    fn parses_headers() {
        let base = "example.com";
        for (header, host) in [
            ("example.com", Host::Base),
            ("EXAMPLE.com.:80", Host::Base),
            ("Tenant-1.example.com.", Host::Slug("tenant-1".parse().unwrap())),
            ("admin.example.com", Host::Reserved),
            ("3m.example.com:80", Host::Slug("3m".parse().unwrap())),
            ("1881.example.com", Host::Slug("1881".parse().unwrap())),
            ("-3m.example.com", Host::Unknown),
            ("tenant_1.example.com", Host::Unknown),
            ("a.tenant-1.example.com", Host::Unknown),
            (".example.com", Host::Unknown),
            ("tenant-1.example.com..", Host::Unknown),
            ("example.com..", Host::Unknown),
            ("guards.example.org..", Host::Unknown),
            ("", Host::Unknown),
            ("localhost", Host::Unknown),
            ("127.0.0.1:3000", Host::Unknown),
            ("127.0.0.1", Host::Unknown),
            ("3232235777", Host::Unknown),
            ("[::1]:3000", Host::Unknown),
            ("tenant-1.example.com:80@x", Host::Unknown),
            ("notexample.com", Host::Custom("notexample.com".parse().unwrap())),
            ("guards.example.org:8443", Host::Custom("guards.example.org".parse().unwrap())),
        ] {
            assert_eq!(Host::parse(header, base), host, "{header}");
        }
    }
}
