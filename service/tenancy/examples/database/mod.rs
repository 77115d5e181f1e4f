//! The database in which the examples work.

use local_postgres::Server;

/// The URL of the empty database that `DATABASE_URL` names, or of a PostgreSQL server that ends with
/// the example.
pub(crate) fn locate() -> Result<(String, Option<Server>), local_postgres::ServerError> {
    match std::env::var("DATABASE_URL") {
        Ok(url) => Ok((url, None)),
        Err(_) => {
            let server = Server::temporary(&[])?;
            Ok((server.url("postgres"), Some(server)))
        }
    }
}
