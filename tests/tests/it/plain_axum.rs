//! Tenants in applications that use plain `axum::serve`: a state of their own, the extractor, the
//! layer with each of its sources.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{FromRef, Path, State},
    handler::HandlerWithoutStateExt,
    http::{HeaderName, Request, Uri, Version, request::Parts},
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use sea_orm::{DbErr, EntityTrait, PaginatorTrait};
use serde_json::Value;
use tenantry::{NewTenant, Slug, Tenancy, Tenant, TenantId};
use tenantry_axum::{
    ApiError, AppState, CurrentTenant, HostTenant, Problem, TenantLayer, TenantSource,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tower::Layer;
use tracing::Instrument;

use crate::support::{TestDb, catalog::texts, http2::Http2, log::Log};

/// A state of the application's own.
#[derive(Clone)]
struct Shop {
    tenancy: Tenancy,
    name: &'static str,
}

impl FromRef<Shop> for Tenancy {
    fn from_ref(shop: &Shop) -> Self {
        shop.tenancy.clone()
    }
}

/// Status and body of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer(u16, String);

impl Answer {
    fn of(status: u16, text: &str) -> Self {
        Self(status, text.to_owned())
    }

    #[track_caller]
    fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.0, status, "{self:?}");
        let problem: Value = serde_json::from_str(&self.1).unwrap();
        assert_eq!(problem["type"], format!("urn:tenantry:problem:{kind}"), "{problem}");
        problem
    }
}

/// An application that is served until the end of the test.
struct Serving {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Serving {
    async fn new(app: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, task }
    }

    /// Sends the lines of a head of HTTP/1.
    async fn raw(&self, head: &[&str]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{}\r\nconnection: close\r\n\r\n", head.join("\r\n"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        let read = stream.read_to_string(&mut text);
        timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer(head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn get(&self, path: &str, headers: &[&str]) -> Answer {
        let line = format!("GET {path} HTTP/1.1");
        self.raw(&[&[&*line, "host: any.example"], headers].concat()).await
    }

    async fn on_host(&self, path: &str, host: &str) -> Answer {
        self.raw(&[&format!("GET {path} HTTP/1.1"), &format!("host: {host}")]).await
    }
}

async fn name(CurrentTenant(tenant): CurrentTenant) -> String {
    tenant.slug().to_string()
}

async fn tenancy(db: &TestDb) -> Tenancy {
    let (tenancy, _) = db.with_tenants(["city", "town-2"]).await;
    let mut new = NewTenant::new("village".parse().unwrap());
    new.domains = vec!["books.village.example".parse().unwrap()];
    tenancy.create(new).await.unwrap();
    tenancy
}

/// `/extractor` of the application's own state, and the same by the layer at `/layer`.
fn by_host(tenancy: Tenancy) -> Router {
    async fn extractor(State(shop): State<Shop>, HostTenant(tenant): HostTenant) -> String {
        assert_eq!(shop.name, "shop");
        tenant.slug().to_string()
    }
    let layer = TenantLayer::new(tenancy.clone(), TenantSource::host());
    Router::new()
        .route("/layer", get(name).layer(layer))
        .route("/extractor", get(extractor))
        .with_state(Shop { tenancy, name: "shop" })
}

#[tokio::test]
async fn extractor_and_layer_find_the_tenant_of_the_host() {
    let db = TestDb::new().await;
    let tenancy = tenancy(&db).await;
    let app = Serving::new(by_host(tenancy.clone())).await;
    for path in ["/extractor", "/layer"] {
        for (host, slug) in [
            ("city.localhost", "city"),
            ("TOWN-2.localhost.:3000", "town-2"),
            ("village.localhost", "village"),
            ("books.village.example", "village"),
        ] {
            assert_eq!(app.on_host(path, host).await, Answer::of(200, slug), "{path} {host}");
        }
        for (host, status, kind) in [
            ("localhost", 404, "unknown-host"),
            ("nowhere.localhost", 404, "unknown-host"),
            ("www.localhost", 421, "reserved-host"),
        ] {
            app.on_host(path, host).await.problem(status, kind);
        }
    }
    // Another process changes the tenants.
    let plain = db.plain().await;
    let suspend = "WITH changed AS (UPDATE registry.tenants SET status = 'suspended' \
                   WHERE slug = 'city' RETURNING id) \
                   SELECT pg_notify('tenantry_tenants', id || ' city')::text FROM changed";
    texts(&plain, suspend).await;
    tenancy.drop(&"village".parse().unwrap()).await.unwrap();
    for path in ["/extractor", "/layer"] {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while app.on_host(path, "city.localhost").await.0 == 200 {
            assert!(tokio::time::Instant::now() < deadline, "it is still served");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        app.on_host(path, "city.localhost").await.problem(404, "unknown-host");
        app.on_host(path, "books.village.example").await.problem(404, "unknown-host");
    }
}

#[tokio::test]
async fn a_request_without_exactly_one_host_is_refused_by_extractor_and_layer() {
    let db = TestDb::new().await;
    let app = Serving::new(by_host(tenancy(&db).await)).await;
    for path in ["/extractor", "/layer"] {
        let line = &*format!("GET {path} HTTP/1.1");
        for head in [
            &[line][..],
            &[line, "host: city.localhost", "host: city.localhost"],
            &[line, "host: city.localhost", "host: town-2.localhost"],
            &[line, "host: city.localhost, town-2.localhost"],
            &[line, "host: user@city.localhost"],
            &[&format!("GET {path} HTTP/1.0")],
            &[&format!("GET http://city.localhost{path} HTTP/1.1"), "host: town-2.localhost"],
        ] {
            app.raw(head).await.problem(400, "malformed");
        }
        let whole = format!("GET http://city.localhost{path} HTTP/1.1");
        assert_eq!(app.raw(&[&whole, "host: city.localhost"]).await, Answer::of(200, "city"));

        let client = Http2::connect(app.address).await;
        let ask = async |uri: &str, hosts: &[&str]| {
            let version = if uri.starts_with('/') { Version::HTTP_11 } else { Version::HTTP_2 };
            let mut request = Request::get(uri).version(version);
            for host in hosts {
                request = request.header("host", *host);
            }
            let heard = client.ask(request.body(()).unwrap()).await;
            Answer(heard.status, heard.text)
        };
        let url = &*format!("http://city.localhost{path}");
        assert_eq!(ask(url, &[]).await, Answer::of(200, "city"));
        assert_eq!(ask(url, &["city.localhost"]).await, Answer::of(200, "city"));
        assert_eq!(ask(path, &["town-2.localhost"]).await, Answer::of(200, "town-2"));
        for (uri, hosts) in [
            (url, &["town-2.localhost"][..]),
            (url, &["city.localhost", "city.localhost"]),
            (path, &[]),
            (path, &["city.localhost", "city.localhost"]),
            (&format!("http://user@city.localhost{path}"), &[]),
        ] {
            ask(uri, hosts).await.problem(400, "malformed");
        }
    }
}

/// Routes that a path prefix precedes.
fn below_a_prefix() -> Router {
    async fn item(CurrentTenant(tenant): CurrentTenant, Path(item): Path<u32>) -> String {
        format!("{item} of {}", tenant.slug())
    }
    async fn uri(uri: Uri) -> String {
        uri.to_string()
    }
    Router::new()
        .route("/", get(name))
        .route("/items/{item}", get(item))
        .route("/uri", get(uri))
        .fallback(|| async { Problem::malformed("no route") })
}

#[tokio::test]
async fn a_path_prefix_names_the_tenant_and_is_stripped_before_routing() {
    let db = TestDb::new().await;
    let tenancy = tenancy(&db).await;
    let whole = TenantLayer::new(tenancy.clone(), TenantSource::path_prefix("/t"));
    let nested = TenantLayer::new(tenancy.clone(), TenantSource::path_prefix(""));
    // Inside of `app`, too, with its admin API, limits and log beside it. There the host must be
    // one that is served.
    let state = AppState::new(tenancy, None).anonymous();
    let state = state.allow_hosts(["any.example".parse().unwrap()]);
    let routes = Router::new().nest_service("/t", nested.layer(below_a_prefix()));
    for (router, nowhere) in [
        (Router::new().fallback_service(whole.layer(below_a_prefix())), 404),
        (Router::new().nest_service("/t", nested.layer(below_a_prefix())), 404),
        (tenantry_axum::app(state, routes), 404),
    ] {
        let app = Serving::new(router).await;
        for (path, wanted) in [
            ("/t/city", "city"),
            ("/t/town-2/", "town-2"),
            ("/t/city/items/7", "7 of city"),
            ("/t/town-2/items/7?x=1", "7 of town-2"),
            ("/t/city/uri?a=/t/town-2", "/uri?a=/t/town-2"),
        ] {
            assert_eq!(app.get(path, &[]).await, Answer::of(200, wanted), "{path}");
        }
        for path in ["/t/City/uri", "/t/nowhere/uri", "/t/c%69ty/uri", "/t/../city/uri"] {
            let problem = app.get(path, &[]).await.problem(404, "unknown-tenant");
            assert!(!problem.to_string().contains("admin"), "{problem}");
        }
        for path in ["/", "/city/uri", "/T/city/uri", "/tcity/uri", "/t//uri"] {
            assert_eq!(app.get(path, &[]).await.0, nowhere, "{path}");
        }
        app.get("/t/city/nowhere", &[]).await.problem(400, "malformed");
    }
}

#[tokio::test]
async fn a_header_of_a_trusted_proxy_names_the_tenant() {
    let db = TestDb::new().await;
    let source = TenantSource::header(HeaderName::from_static("x-tenant"));
    let layer = TenantLayer::new(tenancy(&db).await, source);
    let app = Serving::new(Router::new().route("/", get(name)).layer(layer)).await;
    assert_eq!(app.get("/", &["X-Tenant: city"]).await, Answer::of(200, "city"));
    app.get("/", &["x-tenant: nowhere"]).await.problem(404, "unknown-tenant");
    for headers in [
        &[][..],
        &["x-tenant: city", "x-tenant: city"],
        &["x-tenant: city", "X-Tenant: town-2"],
        &["x-tenant: city, town-2"],
        &["x-tenant:"],
        &["x-tenant: City"],
        &["x-tenant: tenant_1"],
    ] {
        let problem = app.get("/", headers).await.problem(400, "malformed");
        assert!(problem["detail"].as_str().unwrap().contains("x-tenant"), "{problem}");
    }
}

#[tokio::test]
async fn a_function_of_the_application_finds_the_tenant() {
    async fn of_token(tenancy: Tenancy, parts: Parts) -> Result<Tenant, ApiError> {
        let token = parts.headers.get("authorization").map(|value| value.to_str().unwrap());
        match token {
            Some("one") => Ok(tenancy.tenant(&"city".parse()?).await?),
            Some("broken") => Err(DbErr::Custom("secret".to_owned()).into()),
            _ => Err(Problem::malformed("who are you?").into()),
        }
    }
    let db = TestDb::new().await;
    let tenancy = tenancy(&db).await;
    let of = tenancy.clone();
    let tokens = TenantSource::function(move |parts| of_token(of.clone(), parts));
    let slugs = TenantSource::function(async |parts: Parts| {
        let slug = parts.uri.query().unwrap_or_default().parse::<Slug>()?;
        Ok::<_, ApiError>(slug)
    });
    let ids = TenantSource::function(async |parts: Parts| {
        let id = parts.uri.query().and_then(|query| query.parse::<uuid::Uuid>().ok());
        id.map(TenantId::from).ok_or_else(|| Problem::malformed("no id"))
    });
    let [tokens, slugs, ids] =
        [tokens, slugs, ids].map(|source| TenantLayer::new(tenancy.clone(), source));
    let router = Router::new()
        .route("/token", get(name).layer(tokens))
        .route("/id", get(name).layer(ids))
        // A service, not a router, without an extractor of this crate.
        .route_service("/slug", slugs.layer(without_extractor.into_service()));
    let app = Serving::new(router).await;
    assert_eq!(app.get("/token", &["authorization: one"]).await, Answer::of(200, "city"));
    app.get("/token", &[]).await.problem(400, "malformed");
    let broken = app.get("/token", &["authorization: broken"]).await;
    assert!(!broken.problem(500, "internal").to_string().contains("secret"));
    assert_eq!(app.get("/slug?town-2", &[]).await, Answer::of(200, "0 guards of town-2"));
    let id = tenancy.tenant(&"town-2".parse().unwrap()).await.unwrap().id();
    assert_eq!(app.get(&format!("/id?{id}"), &[]).await, Answer::of(200, "town-2"));
    let unknown = uuid::Uuid::now_v7();
    app.get(&format!("/id?{unknown}"), &[]).await.problem(404, "unknown-tenant");
    app.get("/slug?nowhere", &[]).await.problem(404, "unknown-tenant");
    app.get("/slug", &[]).await.problem(422, "invalid-name");
}

async fn without_extractor(request: axum::extract::Request) -> Result<String, ApiError> {
    let Some(tenant) = request.extensions().get::<Tenant>() else {
        return Err(Problem::internal().into());
    };
    // The error of SeaORM is converted.
    let count = entity::guard::Entity::find().count(tenant).await?;
    Ok(format!("{count} guards of {}", tenant.slug()))
}

#[tokio::test]
async fn what_a_handler_logs_names_the_tenant_of_the_layer() {
    async fn logs() {
        tracing::info!("handled");
    }
    async fn in_span(request: axum::extract::Request, next: Next) -> Response {
        let span = tracing::info_span!("request", tenant = tracing::field::Empty);
        next.run(request).instrument(span).await
    }
    let db = TestDb::new().await;
    let tenancy = tenancy(&db).await;
    let log = Log::listen();
    let layer = TenantLayer::new(tenancy, TenantSource::host());
    let routes = Router::new().route("/", get(logs)).layer(layer);
    for app in [routes.clone(), routes.layer(from_fn(in_span))] {
        let app = Serving::new(app).await;
        let before = log.text().len();
        assert_eq!(app.on_host("/", "town-2.localhost").await.0, 200);
        let text = log.text()[before..].to_owned();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("handled")).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert_eq!(lines[0].matches("town-2").count(), 1, "{text}");
    }
}
