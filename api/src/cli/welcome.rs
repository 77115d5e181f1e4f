use std::{
    io::{self, Write},
    net::SocketAddr,
};

use migration::connect::Located;

/// What `serve` prints when it is ready.
pub(super) struct Welcome<'a> {
    pub(super) address: SocketAddr,
    pub(super) base_domain: &'a str,
    /// Only a token that was made for this data folder; one that was given is not repeated.
    pub(super) token: Option<&'a str>,
    pub(super) located: &'a Located,
}

impl Welcome<'_> {
    pub(super) fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let base = format!("http://{}:{}", self.base_domain, self.address.port());
        writeln!(out, "Tenantry listens on {}\n", self.address)?;
        writeln!(out, "  tenants    http://TENANT.{}:{}", self.base_domain, self.address.port())?;
        writeln!(out, "  operator   {base}/admin/tenants")?;
        let Some(server) = &self.located.server else {
            return out.flush();
        };
        writeln!(
            out,
            "  data       {} (PostgreSQL {}, ends with this program)",
            server.data_dir().display(),
            server.version(),
        )?;
        if let Some(barred) = &self.located.moved_because {
            let barred = barred.display();
            writeln!(
                out,
                "             not in the data folder: PostgreSQL's user may not enter {barred}"
            )?;
        }
        let Some(token) = self.token else {
            return out.flush();
        };
        writeln!(out, "  token      {token}\n")?;
        let tenant = format!("http://tenant-1.{}:{}", self.base_domain, self.address.port());
        writeln!(out, "Try:\n")?;
        writeln!(
            out,
            r#"  curl {tenant}/guards -H 'content-type: application/json' -d '{{"name":"Abu","position":"Guard"}}'"#
        )?;
        writeln!(out, "  curl {tenant}/guards")?;
        writeln!(out, "  curl {base}/admin/tenants -H 'authorization: Bearer {token}'\n")?;
        out.flush()
    }
}
