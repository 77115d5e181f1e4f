use std::{
    fmt,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use tenantry::Slug;

use super::app::Example;

/// The text that `serve` prints when it is ready.
pub(super) struct Banner<'a> {
    /// The application's name.
    pub(super) name: &'a str,
    pub(super) address: SocketAddr,
    pub(super) base_domain: &'a str,
    pub(super) access: TenantAccess,
    pub(super) local: Option<LocalServerInfo<'a>>,
    pub(super) examples: &'a [Example],
}

/// Who may use the tenants' routes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TenantAccess {
    /// Every caller.
    Anonymous,
    /// Owners of API keys.
    Keys,
    /// Users of the application.
    OwnUsers,
}

/// Additional information if a local PostgreSQL server was started.
pub(super) struct LocalServerInfo<'a> {
    pub(super) data_dir: &'a Path,
    pub(super) version: u32,
    /// The folder that PostgreSQL's user may not enter, if the data is elsewhere for that reason.
    pub(super) inaccessible_dir: Option<&'a Path>,
    /// A tenant for the example requests.
    pub(super) tenant: Slug,
    pub(super) token: Token<'a>,
}

/// Where the user finds the admin token.
#[derive(Clone, Copy)]
pub(super) enum Token<'a> {
    /// A new one, shown only once, as output is kept in logs.
    New(&'a str),
    /// In a file.
    In(&'a Path),
    /// In the environment or an option; not printed.
    Given,
}

impl Banner<'_> {
    pub(super) fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        write!(out, "{self}")?;
        out.flush()
    }

    /// A curl command for the shell.
    fn curl(&self, host: &str, path: &str) -> String {
        let port = self.address.port();
        let ip = match self.address.ip() {
            ip if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        // curl resolves names below localhost to these two (RFC 6761, 6.3).
        let loops = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let local = host == "localhost" || host.ends_with(".localhost");
        let url = format!("curl http://{host}:{port}{path}");
        match ip {
            ip if local && loops.contains(&ip) => url,
            IpAddr::V4(ip) => format!("{url} --resolve {host}:{port}:{ip}"),
            IpAddr::V6(ip) => format!("{url} --resolve {host}:{port}:[{ip}]"),
        }
    }
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, port) = (self.base_domain, self.address.port());
        writeln!(f, "{} listens on {}\n", self.name, self.address)?;
        writeln!(f, "  tenants    http://TENANT.{base}:{port}")?;
        writeln!(f, "  admin      http://{base}:{port}/admin/tenants")?;
        if self.access == TenantAccess::Anonymous {
            let way = "tenants are open to every program on this machine; --anonymous=false";
            writeln!(f, "  anonymous  {way} asks for credentials")?;
        }
        let Some(local) = &self.local else {
            return Ok(());
        };
        let (data, version) = (local.data_dir.display(), local.version);
        writeln!(f, "  data       {data} (PostgreSQL {version}, ends with this program)")?;
        if let Some(barred) = local.inaccessible_dir {
            let barred = barred.display();
            writeln!(
                f,
                "             not in the data folder: PostgreSQL's user may not enter {barred}"
            )?;
        }
        let authorization = match local.token {
            Token::New(token) => {
                writeln!(f, "  token      {token}")?;
                format!("'authorization: Bearer {token}'")
            }
            Token::In(file) => {
                writeln!(f, "  token      in {}", file.display())?;
                format!("\"authorization: Bearer $(cat {})\"", quoted(file))
            }
            Token::Given => "\"authorization: Bearer $TENANTRY_ADMIN_TOKEN\"".to_owned(),
        };
        writeln!(f, "\nTry it with curl:\n")?;
        let host = format!("{}.{base}", local.tenant);
        let key = match self.access {
            TenantAccess::Keys => {
                let (name, tenant) = (self.name, &local.tenant);
                writeln!(
                    f,
                    "  KEY=$({name} key create --tenant {tenant} --scope read --scope write --name try)"
                )?;
                " -H \"authorization: Bearer $KEY\""
            }
            TenantAccess::Anonymous | TenantAccess::OwnUsers => "",
        };
        for Example { path, arguments } in self.examples {
            let line = format!("{}{key} {arguments}", self.curl(&host, path));
            writeln!(f, "  {}", line.trim_end())?;
        }
        writeln!(f, "  {} -H {authorization}\n", self.curl(base, "/admin/tenants"))
    }
}

/// A path, quoted for the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The curl commands.
    fn lines(address: &str, base_domain: &str, token: Token<'_>) -> Vec<String> {
        let local = LocalServerInfo {
            data_dir: "/data".as_ref(),
            version: 18,
            inaccessible_dir: None,
            tenant: "tenant-2".parse().unwrap(),
            token,
        };
        let address = address.parse().unwrap();
        let examples = ["-d '{}'", ""].map(|arguments| Example::new("/guards", arguments));
        let text = Banner {
            name: "guards",
            address,
            base_domain,
            access: TenantAccess::Anonymous,
            local: Some(local),
            examples: &examples,
        }
        .to_string();
        assert!(text.starts_with(&format!("guards listens on {address}\n")), "{text}");
        let lines = text.lines().filter_map(|line| line.strip_prefix("  curl "));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn commands_name_an_existing_tenant() {
        let [store, list, tenants] =
            &lines("127.0.0.1:3000", "localhost", Token::New("secret"))[..]
        else {
            panic!("not three lines");
        };
        assert!(store.starts_with("http://tenant-2.localhost:3000/guards -d "), "{store}");
        assert_eq!(list, "http://tenant-2.localhost:3000/guards");
        let wanted = "http://localhost:3000/admin/tenants -H 'authorization: Bearer secret'";
        assert_eq!(tenants, wanted);
    }

    #[test]
    fn an_old_token_is_read_from_its_file() {
        let lines = lines("127.0.0.1:3000", "localhost", Token::In("/my data/it's".as_ref()));
        let wanted = r#" -H "authorization: Bearer $(cat '/my data/it'\''s')""#;
        assert!(lines[2].ends_with(wanted), "{lines:?}");
    }

    #[test]
    fn a_given_token_is_read_from_the_environment() {
        let lines = lines("127.0.0.1:3000", "localhost", Token::Given);
        let wanted = r#" -H "authorization: Bearer $TENANTRY_ADMIN_TOKEN""#;
        assert!(lines[2].ends_with(wanted), "{lines:?}");
    }

    #[test]
    fn commands_resolve_names_that_dns_does_not() {
        for (address, base, resolve) in [
            ("127.0.0.1:1", "localhost", None),
            ("[::1]:1", "app.localhost", None),
            ("0.0.0.0:1", "localhost", None),
            ("[::]:1", "localhost", None),
            ("192.0.2.1:1", "localhost", Some("192.0.2.1")),
            ("127.0.0.2:1", "localhost", Some("127.0.0.2")),
            ("127.0.0.1:1", "example.com", Some("127.0.0.1")),
            ("0.0.0.0:1", "example.com", Some("127.0.0.1")),
            ("[::]:1", "notlocalhost", Some("127.0.0.1")),
            ("[2001:db8::1]:1", "example.com", Some("[2001:db8::1]")),
        ] {
            let lines = lines(address, base, Token::Given);
            for (line, host) in [(1, format!("tenant-2.{base}")), (2, base.to_owned())] {
                let wanted = resolve.map(|ip| format!(" --resolve {host}:1:{ip}"));
                let line = &lines[line];
                assert_eq!(line.contains("--resolve"), resolve.is_some(), "{address} {line}");
                assert!(wanted.is_none_or(|wanted| line.contains(&wanted)), "{address} {line}");
            }
        }
    }
}
