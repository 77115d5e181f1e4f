//! Applications with users of their own: a check in the place of API keys, the caller as an
//! extractor, and scopes of routes.

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, State},
    http::{Request, request::Parts},
    response::Response,
    routing::{get, post},
};
use sea_orm::DbErr;
use serde_json::Value;
use tenantry::{NewApiKey, Scope, Tenancy};
use tenantry_axum::{
    Access, ApiError, AppState, AuthLayer, Authenticate, CurrentTenant, HostTenant, Principal,
    TenantLayer, TenantSource, app, require,
};
use tower::{Layer, Service};

use crate::support::{TestDb, log::Log};

/// Users by a header: `reader`, `writer` and `boss` of the tenant of `x-of`, or of the host's.
#[derive(Clone)]
struct Users(Tenancy);

impl Authenticate for Users {
    async fn authenticate(&self, parts: &mut Parts) -> Result<Option<Principal>, ApiError> {
        let text = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let (Some(user), of) = (text("x-user"), text("x-of")) else { return Ok(None) };
        let tenant = match of {
            Some(slug) => self.0.tenant(&slug.parse()?).await?,
            None => HostTenant::from_request_parts(parts, &self.0).await?.0,
        };
        let scopes = match user.as_str() {
            "reader" => vec![Scope::Read],
            "writer" => vec![Scope::Read, Scope::Write],
            "boss" => Scope::ALL.to_vec(),
            "operator" => return Ok(Some(Principal::operator("operator", Scope::ALL))),
            "broken" => return Err(DbErr::Custom("secret".to_owned()).into()),
            _ => return Ok(None),
        };
        let scopes = scopes.into_iter().collect::<tenantry::Scopes>();
        Ok(Some(Principal::of_tenant(&user, &tenant, scopes)))
    }
}

async fn whoami(principal: Principal) -> String {
    let tenant = principal.tenant().map(|(_, slug)| slug.to_string());
    format!("{} of {}", principal.name(), tenant.unwrap_or_default())
}

async fn by_host(HostTenant(tenant): HostTenant, principal: Principal) -> String {
    format!("{} in {}", principal.name(), tenant.slug())
}

async fn current(CurrentTenant(tenant): CurrentTenant, principal: Principal) -> String {
    format!("{} in {}", principal.name(), tenant.slug())
}

async fn send(app: &Router, method: &str, url: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let answer: Response = app.clone().call(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 100_000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[track_caller]
fn is_problem((status, text): &(u16, String), wanted: u16, kind: &str) {
    assert_eq!(*status, wanted, "{text}");
    let problem: Value = serde_json::from_str(text).unwrap();
    assert_eq!(problem["type"], format!("urn:tenantry:problem:{kind}"), "{problem}");
}

fn routes() -> Router<AppState> {
    Router::new()
        .route("/me", get(whoami))
        .route("/host", get(by_host).post(by_host))
        .route("/close", post(by_host).layer(require(Scope::Admin)))
        .route("/report", get(by_host).layer(require(Scope::Write)))
}

/// `app`, and the layers in a router without it.
fn applications(tenancy: &Tenancy) -> [Router; 2] {
    let users = || Users(tenancy.clone());
    let state = AppState::new(tenancy.clone(), None);
    let access = Access::new(tenancy.clone(), users());
    let plain = routes().layer(AuthLayer::new(access)).with_state(state.clone());
    [app(state.authenticate(users()), routes()), plain]
}

#[tokio::test]
async fn a_check_of_the_application_decides_who_may_do_what() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city", "town"]).await;
    for app in applications(&tenancy) {
        let ask = async |method, path: &str, user: &str| {
            let headers = [("host", "city.localhost"), ("x-user", user)];
            send(&app, method, path, &headers).await
        };
        assert_eq!(ask("GET", "/me", "reader").await, (200, "reader of city".into()));
        assert_eq!(ask("GET", "/host", "reader").await, (200, "reader in city".into()));
        assert_eq!(ask("POST", "/host", "writer").await, (200, "writer in city".into()));
        assert_eq!(ask("POST", "/close", "boss").await, (200, "boss in city".into()));
        assert_eq!(ask("GET", "/report", "writer").await, (200, "writer in city".into()));
        for (method, path, user) in [
            ("POST", "/host", "reader"),
            ("POST", "/close", "reader"),
            ("POST", "/close", "writer"),
            ("GET", "/report", "reader"),
            // Before the route says that it has no such method.
            ("DELETE", "/host", "reader"),
        ] {
            is_problem(&ask(method, path, user).await, 403, "insufficient-scope");
        }
        assert_eq!(ask("DELETE", "/host", "writer").await.0, 405);
        is_problem(&ask("GET", "/me", "stranger").await, 401, "unauthorized");
        is_problem(
            &send(&app, "GET", "/me", &[("host", "city.localhost")]).await,
            401,
            "unauthorized",
        );
        let broken = ask("GET", "/me", "broken").await;
        is_problem(&broken, 500, "internal");
        assert!(!broken.1.contains("secret"), "{broken:?}");
        is_problem(&ask("GET", "/host", "operator").await, 403, "operator-only");
    }
}

#[tokio::test]
async fn a_caller_of_another_tenant_is_refused_and_learns_nothing_of_it() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city", "town"]).await;
    for app in applications(&tenancy) {
        let mut answers = Vec::new();
        for host in ["town.localhost", "nowhere.localhost"] {
            let headers = [("host", host), ("x-user", "boss"), ("x-of", "city")];
            // A route that does not use the tenant is refused as well, if there is one.
            for path in ["/me", "/host"] {
                answers.push(send(&app, "GET", path, &headers).await);
            }
        }
        for answer in &answers {
            is_problem(answer, 403, "other-tenant");
            assert!(!answer.1.contains("town") && !answer.1.contains("city"), "{answer:?}");
            assert_eq!(answer, &answers[0]);
        }
    }
}

#[tokio::test]
async fn a_tenant_that_is_found_by_the_path_is_compared_on_either_side_of_the_layer() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city", "town"]).await;
    let auth = AuthLayer::new(Access::new(tenancy.clone(), Users(tenancy.clone())));
    let tenants = TenantLayer::new(tenancy.clone(), TenantSource::path_prefix("/t"));
    let handlers = || Router::new().route("/", get(current));
    let inside = tenants.layer(auth.layer(handlers()));
    let outside = auth.layer(tenants.layer(handlers()));
    let state = AppState::new(tenancy.clone(), None)
        .authenticate(Users(tenancy.clone()))
        .allow_hosts(["shop.example.org".parse().unwrap()]);
    let nested = TenantLayer::new(tenancy.clone(), TenantSource::path_prefix(""));
    let whole = Router::new().nest_service("/t", nested.layer(handlers()));
    for app in [
        Router::new().fallback_service(inside),
        Router::new().fallback_service(outside),
        app(state, whole),
    ] {
        // The host is that of the whole service.
        let ask = async |path: &str| {
            let host = ("host", "shop.example.org");
            send(&app, "GET", path, &[host, ("x-user", "reader"), ("x-of", "city")]).await
        };
        assert_eq!(ask("/t/city/").await, (200, "reader in city".into()));
        is_problem(&ask("/t/town/").await, 403, "other-tenant");
        let without = send(&app, "GET", "/t/city/", &[("host", "shop.example.org")]).await;
        is_problem(&without, 401, "unauthorized");
    }
}

#[tokio::test]
async fn two_checks_are_asked_one_after_the_other() {
    struct Machine(Tenancy);
    impl Authenticate for Machine {
        async fn authenticate(&self, parts: &mut Parts) -> Result<Option<Principal>, ApiError> {
            let tenant = self.0.tenant(&"city".parse()?).await?;
            let known = parts.headers.contains_key("x-machine");
            Ok(known.then(|| Principal::of_tenant("machine", &tenant, [Scope::Read])))
        }
    }
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city"]).await;
    let both = (Users(tenancy.clone()), Some(Machine(tenancy.clone())));
    let app = app(AppState::new(tenancy, None).authenticate(both), routes());
    let ask = async |name| send(&app, "GET", "/me", &[("host", "city.localhost"), name]).await;
    assert_eq!(ask(("x-user", "reader")).await.1, "reader of city");
    assert_eq!(ask(("x-machine", "1")).await.1, "machine of city");
    is_problem(&ask(("x-other", "1")).await, 401, "unauthorized");
}

#[tokio::test]
async fn the_second_check_is_asked_also_if_the_first_one_says_why_there_is_no_caller() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city"]).await;
    let new = NewApiKey {
        name: "app".parse().unwrap(),
        tenant: Some("city".parse().unwrap()),
        scopes: [Scope::Read].into(),
        expires_at: None,
    };
    let key = tenancy.key_create(new).await.unwrap();
    tenancy.key_revoke(&key.info.prefix).await.unwrap();
    let state = AppState::new(tenancy.clone(), None).also_authenticate(Users(tenancy));
    let app = app(state, routes());
    let credential = format!("Bearer {}", key.key);
    let host = ("host", "city.localhost");
    let both = [host, ("authorization", &credential), ("x-user", "reader")];
    assert_eq!(send(&app, "GET", "/me", &both).await.1, "reader of city");
    for headers in [&both[..2], &[both[0], both[1], ("x-user", "stranger")]] {
        let refused = send(&app, "GET", "/me", headers).await;
        is_problem(&refused, 401, "unauthorized");
        assert!(refused.1.contains("revoked"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_check_that_finds_no_tenant_does_not_tell_which_tenants_exist() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city", "town"]).await;
    tenancy.suspend(&"town".parse().unwrap(), None).await.unwrap();
    let log = Log::listen();
    for app in applications(&tenancy) {
        let mut answers = Vec::new();
        // The last one is a tenant's, without its user.
        for host in ["nowhere.localhost", "town.localhost", "city.localhost"] {
            let headers = [("host", host), ("x-user", "stranger")];
            answers.push(send(&app, "GET", "/host", &headers).await);
        }
        for answer in &answers {
            is_problem(answer, 401, "unauthorized");
            assert_eq!(answer, &answers[0]);
        }
    }
    assert!(log.text().contains("tenant_is=\"suspended\""), "{}", log.text());
}

#[tokio::test]
async fn a_handler_that_asks_for_a_hidden_tenant_does_not_reveal_it_on_any_host() {
    async fn town(State(tenancy): State<Tenancy>) -> Result<String, ApiError> {
        Ok(tenancy.tenant(&"town".parse()?).await?.slug().to_string())
    }
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city", "town"]).await;
    let state = AppState::new(tenancy.clone(), None).anonymous();
    let state = state.allow_hosts(["shop.example.org".parse().unwrap()]);
    let app = app(state, Router::new().route("/town", get(town)));
    let hosts = ["city.localhost", "town.localhost", "nowhere.localhost", "shop.example.org"];
    for host in hosts {
        assert_eq!(send(&app, "GET", "/town", &[("host", host)]).await, (200, "town".into()));
    }
    tenancy.suspend(&"town".parse().unwrap(), None).await.unwrap();
    for host in hosts {
        let answer = send(&app, "GET", "/town", &[("host", host)]).await;
        is_problem(&answer, 404, "unknown-host");
        assert!(!answer.1.contains("suspended"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_route_that_asks_for_the_caller_without_the_layer_is_500_and_the_log_says_why() {
    let db = TestDb::new().await;
    let (tenancy, _) = db.with_tenants(["city"]).await;
    let log = Log::listen();
    let app: Router = routes().with_state(AppState::new(tenancy, None));
    for (method, path) in [("GET", "/me"), ("POST", "/close")] {
        let answer = send(&app, method, path, &[("host", "city.localhost")]).await;
        is_problem(&answer, 500, "internal");
    }
    let text = log.text();
    assert_eq!(text.matches("there is no AuthLayer around it").count(), 2, "{text}");
}
