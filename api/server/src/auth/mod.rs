//! Who may do what: the caller of a request, the checks that find it, and the layers that ask for
//! it.

mod access;
mod admin;
mod api_keys;
mod authenticate;
mod bearer;
mod client_address;
mod failures;
#[cfg(feature = "jwt")]
mod jwt;
mod layer;
mod principal;
mod require;

pub use access::Access;
pub use admin::{Admin, AdminToken, TokenError};
pub use api_keys::ApiKeys;
pub use authenticate::Authenticate;
#[cfg(feature = "jwt")]
pub use jwt::{JwksSource, JwksSourceError, Jwt, JwtConfig, JwtError};
pub use layer::AuthLayer;
pub use principal::Principal;
pub(crate) use principal::admit_found;
pub use require::{RequireLayer, require};
