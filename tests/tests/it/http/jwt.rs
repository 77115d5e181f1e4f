//! JSON Web Tokens as credentials.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Answer, Site, heard};
use crate::support::{
    TestDb,
    http_server::{HttpServer, TOKEN, eventually},
    issuer::{AUDIENCE, ISSUER, JwksServer, SigningKey, claims, now, signed_with_secret},
    process::Ran,
};

/// A server that accepts the tokens of an issuer, with the tenants `tenant-1` and `tenant-2`. Waits for
/// the server without giving way to other tasks, so the issuer needs a thread of its own.
async fn site(jwks: &str, options: &[(&str, &str)]) -> Site {
    let db = TestDb::new().await;
    let mut command = HttpServer::command(&db.url());
    command
        .env("TENANTRY_ADMIN_TOKEN", TOKEN)
        .env_remove("TENANTRY_ANONYMOUS")
        .env("TENANTRY_JWT_JWKS", jwks)
        .env("TENANTRY_JWT_ISSUER", ISSUER)
        .env("TENANTRY_JWT_AUDIENCE", AUDIENCE)
        .envs(options.iter().copied());
    let site = Site { serving: HttpServer::launch(&mut command), db };
    for slug in ["tenant-1", "tenant-2"] {
        site.create(slug).await;
    }
    site
}

async fn ask(site: &Site, host: &str, method: &str, token: &str) -> Answer {
    let request = site.caller(host).request(method, "/guards").bearer_auth(token);
    heard(request.json(&json!({ "name": "Abu", "position": "Gate" }))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_tenant_that_it_names_and_no_other() {
    let keys = [SigningKey::es256("e"), SigningKey::eddsa("d"), SigningKey::rs256("r")];
    let issuer = JwksServer::start(&[&keys[0], &keys[1], &keys[2]]).await;
    let site = site(&issuer.url(), &[]).await;
    let id = &site.stored("SELECT id::text FROM registry.tenants WHERE slug = 'tenant-1'").await[0];
    for key in &keys {
        for name in ["tenant-1", id] {
            let token = key.sign(&claims(name, "openid read write"));
            ask(&site, "tenant-1.localhost", "POST", &token).await.is(201);
            ask(&site, "tenant-1.localhost", "GET", &token).await.is(200);
            for method in ["GET", "POST"] {
                let answer = ask(&site, "tenant-2.localhost", method, &token).await;
                answer.problem(403, "other-tenant");
            }
            let admin = site.caller("localhost").request("GET", "/admin/tenants");
            heard(admin.bearer_auth(&token)).await.problem(403, "not-an-operator");
        }
    }
    let read = keys[0].sign(&claims("tenant-1", "read"));
    ask(&site, "tenant-1.localhost", "GET", &read).await.is(200);
    let answer = ask(&site, "tenant-1.localhost", "POST", &read).await;
    answer.problem(403, "insufficient-scope");
    assert!(answer.header("www-authenticate").contains("scope=\"write\""), "{answer:#?}");
    let none = keys[0].sign(&claims("tenant-1", "openid profile"));
    ask(&site, "tenant-1.localhost", "GET", &none).await.problem(403, "insufficient-scope");
    assert_eq!(site.stored("SELECT count(*)::text FROM tenant_1.guards").await, ["6"]);
    assert_eq!(site.stored("SELECT count(*)::text FROM tenant_2.guards").await, ["0"]);
    // The admin token is accepted beside them, and other credentials are refused.
    heard(site.operator("GET", "/admin/tenants")).await.is(200);
    let answer = ask(&site, "tenant-1.localhost", "GET", "no-token").await;
    answer.problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_names_no_tenant_opens_none() {
    let key = SigningKey::es256("e");
    let issuer = JwksServer::start(&[&key]).await;
    let site = site(&issuer.url(), &[]).await;
    for tenant in [json!(null), json!(""), json!("*"), json!(["tenant-1"]), json!("tenant-9")] {
        let mut claims = claims("tenant-1", "read write admin");
        claims["tenant"] = tenant.clone();
        let answer = ask(&site, "tenant-1.localhost", "GET", &key.sign(&claims)).await;
        answer.problem(403, "other-tenant");
    }
    let mut claims = claims("tenant-1", "read");
    claims.as_object_mut().unwrap().remove("tenant");
    let answer = ask(&site, "tenant-1.localhost", "GET", &key.sign(&claims)).await;
    answer.problem(403, "other-tenant");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_valid_is_401_with_the_reason_and_not_logged() {
    let [key, other] = ["e", "e"].map(SigningKey::es256);
    let rsa = SigningKey::rs256("r");
    let issuer = JwksServer::start(&[&key, &rsa]).await;
    let site = site(&issuer.url(), &[]).await;
    let accepted = claims("tenant-1", "read write");
    let with = |name: &str, value: Value| {
        let mut claims = accepted.clone();
        claims[name] = value;
        key.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = accepted.clone();
        claims.as_object_mut().unwrap().remove(name);
        key.sign(&claims)
    };
    let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid });
    let signed = key.sign(&accepted);
    let (message, signature) = signed.rsplit_once('.').unwrap();
    let (head, _) = message.split_once('.').unwrap();
    let mut richer = accepted.clone();
    richer["scope"] = json!("read write admin");
    let richer = key.sign(&richer);
    let payload = richer.split('.').nth(1).unwrap();
    let public = rsa.public()["n"].as_str().unwrap().to_owned();
    let critical = json!({ "alg": "ES256", "kid": "e", "crit": ["exp"], "exp": 1 });
    for (token, reason) in [
        (with("exp", json!(now() - 31)), "expired"),
        (with("exp", json!("tomorrow")), "claim exp"),
        (with("nbf", json!(now() + 90)), "not valid yet"),
        (with("nbf", json!("now")), "malformed"),
        (with("aud", json!("others")), "another audience"),
        (with("aud", json!(["others", "guardsmen"])), "another audience"),
        (with("iss", json!("https://evil.example")), "issuer"),
        (with("iss", json!([ISSUER, "https://evil.example"])), "issuer"),
        (without("exp"), "no claim exp"),
        (without("iss"), "no claim iss"),
        (without("aud"), "no claim aud"),
        (other.sign(&accepted), "signature"),
        (format!("{head}.{payload}.{signature}"), "signature"),
        (format!("{message}."), "signature"),
        (key.sign_with(&header("ES256", "x"), &accepted), "unknown key"),
        // The key decides about the algorithm.
        (key.sign_with(&header("RS256", "e"), &accepted), "unknown key"),
        (key.sign_with(&header("EdDSA", "e"), &accepted), "unknown key"),
        (signed_with_secret(&public, &header("HS256", "r"), &accepted), "not accepted"),
        (signed_with_secret(&public, &header("RS256", "r"), &accepted), "signature"),
        (key.sign_with(&header("ES384", "e"), &accepted), "not accepted"),
        (key.sign_with(&header("none", "e"), &accepted), "malformed"),
        (key.sign_with(&critical, &accepted), "malformed"),
        (with("padding", json!("x".repeat(17_000))), "too long"),
        ("a.b.c".to_owned(), "malformed"),
        ("..".to_owned(), "malformed"),
    ] {
        let answer = ask(&site, "tenant-1.localhost", "GET", &token).await;
        let problem = answer.problem(401, "unauthorized");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{challenge}");
        assert!(challenge.contains(reason), "{reason}: {challenge} {token}");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
        assert!(!site.serving.stderr().contains(&token), "it is logged");
    }
    // Clocks may differ by 30 seconds.
    for token in [
        with("exp", json!(now() - 20)),
        with("nbf", json!(now() + 20)),
        with("aud", json!(["others", AUDIENCE])),
        signed.clone(),
    ] {
        ask(&site, "tenant-1.localhost", "GET", &token).await.is(200);
    }
    // Tokens with unknown keys do not reach the issuer so soon.
    assert!(issuer.requests() <= 2, "{}", issuer.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_are_found_and_a_flood_of_unknown_ones_does_not_reach_the_issuer() {
    let [old, new] = ["old", "new"].map(SigningKey::eddsa);
    let issuer = JwksServer::start(&[&old]).await;
    let site = site(&issuer.url(), &[("TENANTRY_CLIENT_ADDRESS_HEADER", "x-real-ip")]).await;
    let started = Instant::now();
    let unknown = SigningKey::eddsa("unknown").sign(&claims("tenant-1", "read"));
    let flood = async || {
        // Each from another address.
        let asked = (0..50).map(|number| {
            let request = site.caller("tenant-1.localhost").request("GET", "/guards");
            heard(request.bearer_auth(&unknown).header("x-real-ip", format!("192.0.2.{number}")))
        });
        join_all(asked).await.into_iter().for_each(|answer| {
            assert!([401, 503].contains(&answer.status), "{answer:#?}");
        });
    };
    flood().await;
    assert_eq!(issuer.requests(), 1);
    // The issuer changes its key, and is down for a moment.
    issuer.publish(&[&new]);
    issuer.fail();
    tokio::time::sleep(Duration::from_secs(31).saturating_sub(started.elapsed())).await;
    flood().await;
    assert_eq!(issuer.requests(), 2);
    let [by_old, by_new] = [&old, &new].map(|key| key.sign(&claims("tenant-1", "read")));
    ask(&site, "tenant-1.localhost", "GET", &by_old).await.is(200);
    ask(&site, "tenant-1.localhost", "GET", &by_new).await.problem(401, "unauthorized");
    let log = site.serving.stderr();
    assert!(log.contains("WARN") && log.contains("could not be fetched"), "{log}");
    issuer.publish(&[&new]);
    let failed = Instant::now();
    tokio::time::sleep(Duration::from_secs(31).saturating_sub(failed.elapsed())).await;
    // The first one that asks finds the new key, and the old one is no longer accepted.
    ask(&site, "tenant-1.localhost", "GET", &key_token(&new)).await.is(200);
    ask(&site, "tenant-1.localhost", "GET", &key_token(&old)).await.problem(401, "unauthorized");
    flood().await;
    assert_eq!(issuer.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_new_keys_is_read_again() {
    let [old, new] = ["old", "new"].map(SigningKey::es256);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    let publish = |key: &SigningKey| {
        std::fs::write(&file, json!({ "keys": [key.public()] }).to_string()).unwrap();
    };
    publish(&old);
    let started = Instant::now();
    let site = site(file.to_str().unwrap(), &[]).await;
    ask(&site, "tenant-1.localhost", "GET", &key_token(&old)).await.is(200);
    publish(&new);
    tokio::time::sleep(Duration::from_secs(31).saturating_sub(started.elapsed())).await;
    ask(&site, "tenant-1.localhost", "GET", &key_token(&new)).await.is(200);
    ask(&site, "tenant-1.localhost", "GET", &key_token(&old)).await.problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_valid_are_failures_and_valid_ones_are_accepted_all_the_same() {
    let [key, other] = ["e", "e"].map(SigningKey::es256);
    let issuer = JwksServer::start(&[&key]).await;
    let site = site(&issuer.url(), &[]).await;
    let mut expired = claims("tenant-1", "read");
    expired["exp"] = json!(now() - 60);
    let expired = key.sign(&expired);
    for _ in 0..50 {
        ask(&site, "tenant-1.localhost", "GET", &expired).await.problem(401, "unauthorized");
    }
    let mut failed = 0;
    while ask(&site, "tenant-1.localhost", "GET", &key_token(&other)).await.status == 401 {
        failed += 1;
        assert!(failed <= 100, "no limit");
    }
    for refused in [&key_token(&other), &expired, "a.b.c"] {
        let answer = ask(&site, "tenant-1.localhost", "GET", refused).await;
        answer.problem(429, "too-many-failures");
    }
    ask(&site, "tenant-1.localhost", "GET", &key_token(&key)).await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_suspended_tenant_is_refused_as_the_tenant_is() {
    let key = SigningKey::es256("e");
    let issuer = JwksServer::start(&[&key]).await;
    let site = site(&issuer.url(), &[]).await;
    let id = &site.stored("SELECT id::text FROM registry.tenants WHERE slug = 'tenant-1'").await[0];
    site.set_status("tenant-1", "suspended").await;
    for name in ["tenant-1", id] {
        let token = key.sign(&claims(name, "read"));
        let ask = async |host: &str| ask(&site, host, "GET", &token).await;
        eventually("it is suspended", async || ask("tenant-1.localhost").await.status == 404).await;
        let answer = ask("tenant-1.localhost").await;
        answer.problem(404, "unknown-host");
        let lines = site.serving.logged(answer.header("x-request-id")).await;
        assert!(lines.iter().any(|line| line.contains("tenant_is=\"suspended\"")), "{lines:#?}");
        ask("tenant-2.localhost").await.problem(403, "other-tenant");
    }
    let entries = "SELECT concat_ws(' ', slug, actor) FROM registry.audit
         WHERE action = 'key_refused'";
    eventually("it is recorded", async || site.stored(entries).await == ["tenant-2 jwt:abu"]).await;
}

fn key_token(key: &SigningKey) -> String {
    key.sign(&claims("tenant-1", "read"))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_tokens_are_503_and_everything_else_is_served() {
    let key = SigningKey::es256("e");
    let issuer = JwksServer::start(&[&key]).await;
    issuer.fail();
    let site = site(&issuer.url(), &[]).await;
    let answer = ask(&site, "tenant-1.localhost", "GET", &key_token(&key)).await;
    answer.problem(503, "keys-unavailable");
    assert!(answer.header("retry-after").parse::<u32>().is_ok());
    heard(site.operator("GET", "/admin/tenants")).await.is(200);
    let log = site.serving.stderr();
    assert!(log.contains("WARN") && log.contains(&issuer.url()), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_and_operators_are_those_that_are_configured() {
    let key = SigningKey::rs256("r");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, json!({ "keys": [key.public()] }).to_string()).unwrap();
    let options = [
        ("TENANTRY_JWT_TENANT_CLAIM", "https://id.example.org/org"),
        ("TENANTRY_JWT_SCOPE_CLAIM", "scp"),
        ("TENANTRY_JWT_SCOPE_PREFIX", "guards:"),
        ("TENANTRY_JWT_OPERATOR_CLAIM", "roles=ops"),
    ];
    let site = site(file.to_str().unwrap(), &options).await;
    let mut of_tenant = claims("tenant-2", "read write");
    of_tenant["https://id.example.org/org"] = json!("tenant-1");
    of_tenant["scp"] = json!(["guards:read", "write"]);
    let token = key.sign(&of_tenant);
    ask(&site, "tenant-1.localhost", "GET", &token).await.is(200);
    ask(&site, "tenant-1.localhost", "POST", &token).await.problem(403, "insufficient-scope");
    ask(&site, "tenant-2.localhost", "GET", &token).await.problem(403, "other-tenant");

    let admin = async |roles: Value, scp: &str| {
        let mut claims = of_tenant.clone();
        claims["roles"] = roles;
        claims["scp"] = json!(scp);
        let request = site.caller("localhost").request("GET", "/admin/tenants");
        heard(request.bearer_auth(key.sign(&claims))).await
    };
    admin(json!(["dev", "ops"]), "guards:read guards:admin").await.is(200);
    admin(json!("ops"), "").await.problem(403, "insufficient-scope");
    admin(json!("dev"), "guards:read guards:admin").await.problem(403, "not-an-operator");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_options_are_given_together_and_checked_before_anything_is_served() {
    // Not reached, so the database need not exist.
    let url = "postgres://localhost:1/none";
    let run = |words: &[&str]| Ran::of(HttpServer::command(url).args(words));
    let jwks = "https://id.example.org/jwks";
    run(&["--jwt-jwks", jwks]).exits(2).complains(["--jwt-issuer", "--jwt-audience"]);
    run(&["--jwt-jwks", jwks, "--jwt-issuer", ISSUER]).exits(2).complains(["--jwt-audience"]);
    run(&["--jwt-issuer", ISSUER]).exits(2).complains(["--jwt-jwks"]);
    run(&["--jwt-tenant-claim", "org"]).exits(2).complains(["--jwt-jwks"]);
    let all = ["--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE];
    for (source, complaint) in [
        ("http://id.example.org/jwks", "https"),
        ("https://me:hunter2@id.example.org/jwks", "user"),
        ("ftp://id.example.org/jwks", "https"),
    ] {
        let ran = run(&[&all[..], &["--jwt-jwks", source]].concat()).exits(2);
        assert!(ran.stderr.contains(complaint) && !ran.stderr.contains("hunter2"), "{ran:#?}");
        assert!(ran.stderr.contains("--jwt-jwks"), "{ran:#?}");
    }
    let anonymous = [&all[..], &["--jwt-jwks", jwks, "--anonymous"]].concat();
    run(&anonymous).exits(1).complains(["--anonymous", "--jwt-jwks"]);
    let db = TestDb::new().await;
    let url = db.url();
    let missing = ["--jwt-jwks", "/nowhere/jwks.json"];
    let command = || {
        let mut command = HttpServer::command(&url);
        command.env_remove("TENANTRY_ANONYMOUS");
        command
    };
    Ran::of(command().args([&all[..], &missing].concat()))
        .exits(1)
        .complains(["/nowhere/jwks.json"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jwks.json");
    std::fs::write(&file, r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#).unwrap();
    let file = ["--jwt-jwks", file.to_str().unwrap()];
    Ran::of(command().args([&all[..], &file].concat()))
        .exits(1)
        .complains(["none of its 1 keys", "RS256"]);
}
