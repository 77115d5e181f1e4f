//! What a client hears from a running `tenantry serve`.

mod access;
mod admin;
mod audit;
mod bodies;
mod cors;
mod file_limit;
mod given_up;
mod guards;
mod hidden;
mod hosts;
mod isolation;
mod jwt;
mod keys;
mod list;
mod log;
mod moments;
mod ndjson;
mod nodes;
mod other_processes;
mod overload;
mod own_server;
mod problems;
mod raw;
mod readme_story;
mod rebinding;
mod rolling_release;
mod security_headers;
mod server_errors;
mod shifts;
mod shutdown;
mod targets;
mod tenant_lifecycle;
mod unreachable;

use reqwest::{Client, Method, RequestBuilder, header};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::{Value, json};

use crate::support::{
    TestDb,
    catalog::texts,
    http_server::{HttpServer, TOKEN},
};

/// A server on a database of its own.
struct Site {
    // Before the database: the server holds connections to it.
    serving: HttpServer,
    db: TestDb,
}

/// A client of one host of the server.
struct Caller {
    client: Client,
    base: String,
    host: String,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: header::HeaderMap,
    text: String,
}

impl Site {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let serving = HttpServer::start(&db.url());
        Self { serving, db }
    }

    /// A site with the tenants `tenant-1` and `tenant-2`, and a caller of each.
    async fn with_tenants() -> (Self, Caller, Caller) {
        let site = Self::new().await;
        for slug in ["tenant-1", "tenant-2"] {
            site.create(slug).await;
        }
        let [one, two] = ["tenant-1.localhost", "tenant-2.localhost"].map(|it| site.caller(it));
        (site, one, two)
    }

    /// Creates a tenant as the operator does.
    async fn create(&self, slug: &str) -> Value {
        let answer = self.operator("POST", "/admin/tenants");
        let answer = answer.json(&json!({ "slug": slug }));
        heard(answer).await.is(201).json()
    }

    fn caller(&self, host: &str) -> Caller {
        Caller {
            // A proxy of the machine has no business here.
            client: Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{}", self.serving.address()),
            host: host.to_owned(),
        }
    }

    /// A request to the base domain with the operator's token.
    fn operator(&self, method: &str, path: &str) -> RequestBuilder {
        self.caller("localhost").request(method, path).bearer_auth(TOKEN)
    }

    /// What a bare connection reads in the first column.
    async fn stored(&self, sql: &str) -> Vec<String> {
        texts(&self.db.plain().await, sql).await
    }

    /// Changes the state of a tenant behind the server's back, and notifies of it.
    async fn set_status(&self, slug: &str, status: &str) {
        let db = self.db.plain().await;
        let sql = format!(
            "WITH changed AS (
                 UPDATE registry.tenants SET status = '{status}' WHERE slug = '{slug}' RETURNING id
             )
             SELECT pg_notify('tenantry_tenants', id || ' {slug}') FROM changed"
        );
        execute(&db, &sql).await;
    }
}

impl Caller {
    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        self.client.request(method, format!("{}{path}", self.base)).header(header::HOST, &self.host)
    }

    async fn get(&self, path: &str) -> Answer {
        heard(self.request("GET", path)).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        heard(self.request("POST", path).json(&body)).await
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        heard(self.request("PATCH", path).json(&body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        heard(self.request("DELETE", path)).await
    }

    /// Stores a guard and returns its path.
    async fn guard(&self, name: &str, position: &str) -> String {
        let input = json!({ "name": name, "position": position });
        let answer = self.post("/guards", input).await.is(201);
        answer.header("location").to_owned()
    }

    /// The names of the guards that a list shows.
    async fn names(&self, path: &str) -> Vec<String> {
        names(&self.get(path).await.is(200).json())
    }
}

impl Answer {
    /// Expects a status.
    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    #[track_caller]
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        let value = value.unwrap_or_else(|| panic!("no {name} in {self:#?}"));
        value.to_str().unwrap()
    }

    /// Expects a problem document of this status and kind (RFC 9457), and returns it.
    #[track_caller]
    fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{self:#?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:tenantry:problem:{kind}"));
        assert_eq!(problem["status"], status, "{problem}");
        let title = problem["title"].as_str().unwrap();
        assert!(!title.is_empty(), "{problem}");
        problem
    }

    /// Expects 422, and returns each failing field with its code.
    #[track_caller]
    fn invalid(&self) -> Vec<(String, String)> {
        let problem = self.problem(422, "invalid");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let errors = problem["errors"].as_array().unwrap().iter();
        errors
            .map(|error| {
                assert!(!text(&error["message"]).is_empty(), "{problem}");
                (text(&error["field"]), text(&error["code"]))
            })
            .collect()
    }
}

/// Sends a request and reads the answer to its end.
async fn heard(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.unwrap(),
    }
}

/// The names of the items of a page.
fn names(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

/// Failing fields with their codes, as [`Answer::invalid`] returns them.
fn fields<const N: usize>(fields: [(&str, &str); N]) -> Vec<(String, String)> {
    let owned = |(field, code): (&str, &str)| (field.to_owned(), code.to_owned());
    fields.map(owned).to_vec()
}

async fn execute(db: &DatabaseConnection, sql: &str) {
    db.execute_unprepared(sql).await.unwrap();
}
