use std::ffi::OsStr;

use clap::{Arg, Args, Command, builder::TypedValueParser, error::ErrorKind};

use crate::{JwksSource, JwtConfig};

/// Options of `serve` about JSON Web Tokens.
#[derive(Debug, Args)]
#[command(next_help_heading = "JSON Web Tokens")]
pub(super) struct JwtArgs {
    /// Accept JSON Web Tokens that are signed with a key of this JWK set, beside API keys: an https
    /// URL (http for this machine), or a file. RS256, ES256 and EdDSA (Ed25519) are accepted.
    #[arg(
        long,
        env = "TENANTRY_JWT_JWKS",
        value_name = "URL|FILE",
        value_parser = JwksParser,
        requires = "jwt_issuer",
        requires = "jwt_audience"
    )]
    jwt_jwks: Option<JwksSource>,

    /// Issuer of the tokens: their claim `iss`.
    #[arg(long, env = "TENANTRY_JWT_ISSUER", value_name = "ISSUER", requires = "jwt_jwks")]
    jwt_issuer: Option<String>,

    /// Audience that the tokens are for: their claim `aud`, or one of its values.
    #[arg(long, env = "TENANTRY_JWT_AUDIENCE", value_name = "AUDIENCE", requires = "jwt_jwks")]
    jwt_audience: Option<String>,

    /// Claim that names the tenant, by its slug or its id.
    #[arg(
        long,
        env = "TENANTRY_JWT_TENANT_CLAIM",
        value_name = "CLAIM",
        default_value = "tenant",
        requires = "jwt_jwks"
    )]
    jwt_tenant_claim: String,

    /// Claim with the scopes: words separated by blanks, or a list.
    #[arg(
        long,
        env = "TENANTRY_JWT_SCOPE_CLAIM",
        value_name = "CLAIM",
        default_value = "scope",
        requires = "jwt_jwks"
    )]
    jwt_scope_claim: String,

    /// Text before the names of scopes: with `guards:` the scope `guards:read` is `read`, and `write`
    /// counts for nothing.
    #[arg(
        long,
        env = "TENANTRY_JWT_SCOPE_PREFIX",
        value_name = "PREFIX",
        default_value = "",
        requires = "jwt_jwks"
    )]
    jwt_scope_prefix: String,

    /// Claim and value that make the holder of a token an operator, such as
    /// `roles=tenantry-operator`. Without it no token is that of an operator.
    #[arg(
        long,
        env = "TENANTRY_JWT_OPERATOR_CLAIM",
        value_name = "CLAIM=VALUE",
        value_parser = claim_and_value,
        requires = "jwt_jwks"
    )]
    jwt_operator_claim: Option<(String, String)>,
}

/// Parses the source. clap would repeat a value that is refused, and a URL may contain a password.
#[derive(Debug, Clone)]
struct JwksParser;

impl TypedValueParser for JwksParser {
    type Value = JwksSource;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<JwksSource, clap::Error> {
        let error = match value.to_str().map(str::parse::<JwksSource>) {
            Some(Ok(source)) => return Ok(source),
            Some(Err(error)) => error.to_string(),
            None => "it is not valid UTF-8".to_owned(),
        };
        let name = arg.map(Arg::to_string).unwrap_or_default();
        let text = format!("invalid value for '{name}': {error}");
        Err(clap::Error::raw(ErrorKind::ValueValidation, text).with_cmd(command))
    }
}

fn claim_and_value(text: &str) -> Result<(String, String), &'static str> {
    match text.rsplit_once('=') {
        Some((claim, value)) if !claim.is_empty() && !value.is_empty() => {
            Ok((claim.to_owned(), value.to_owned()))
        }
        _ => Err("write it as CLAIM=VALUE, such as roles=tenantry-operator"),
    }
}

impl JwtArgs {
    /// Which tokens are accepted, if any are.
    pub(super) fn config(self) -> Option<JwtConfig> {
        // clap has checked that all three are there.
        let (jwks, issuer, audience) = (self.jwt_jwks?, self.jwt_issuer?, self.jwt_audience?);
        Some(JwtConfig {
            tenant_claim: self.jwt_tenant_claim,
            scope_claim: self.jwt_scope_claim,
            scope_prefix: self.jwt_scope_prefix,
            operator_claim: self.jwt_operator_claim,
            ..JwtConfig::new(jwks, issuer, audience)
        })
    }
}
