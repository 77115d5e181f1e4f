//! Prepared statements that are carried over from one session of the server to the next, as PgBouncer
//! does since 1.21: named statements get a name for each text, and are prepared again where they are
//! not. Unnamed statements are passed on as they are.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::{
    frames::{framed, text},
    pipeline::{Change, Expected, Pipeline},
};

/// A statement: its name in the sessions of the server, and its text and parameter types as in a
/// Parse message.
pub type Text = Arc<(Vec<u8>, Vec<u8>)>;

/// All texts of a pool.
#[derive(Default)]
pub struct Texts(Mutex<HashMap<Vec<u8>, Text>>);

impl Texts {
    fn of(&self, body: &[u8]) -> Text {
        let mut texts = self.0.lock().unwrap();
        let number = texts.len();
        let new = || Arc::new((format!("POOLER_{number}").into_bytes(), body.to_vec()));
        Arc::clone(texts.entry(body.to_vec()).or_insert_with(new))
    }
}

/// The statements of a client, by its names.
#[derive(Default)]
pub struct Names(HashMap<Vec<u8>, Text>);

impl Names {
    pub fn insert(&mut self, name: Vec<u8>, text: Text) {
        self.0.insert(name, text);
    }

    pub fn remove(&mut self, name: &[u8]) {
        self.0.remove(name);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// The statements of a session of the server, the last used one at the end.
pub struct Cache {
    limit: usize,
    texts: Vec<Text>,
}

impl Cache {
    pub fn new(limit: usize) -> Self {
        Self { limit, texts: Vec::new() }
    }

    pub fn insert(&mut self, text: Text) {
        self.texts.push(text);
    }

    pub fn remove(&mut self, text: &Text) {
        self.texts.retain(|one| !Arc::ptr_eq(one, text));
    }

    pub fn clear(&mut self) {
        self.texts.clear();
    }

    /// Marks a statement as used, and returns whether it is prepared.
    fn uses(&mut self, text: &Text) -> bool {
        let before = self.texts.len();
        self.remove(text);
        let has = self.texts.len() < before;
        if has {
            self.insert(Arc::clone(text));
        }
        has
    }
}

/// Translates the requests of a client for a session of the server.
pub struct Translation<'a> {
    pub texts: &'a Texts,
    pub names: &'a mut Names,
    pub cache: &'a mut Cache,
    pub pipeline: &'a mut Pipeline,
    pub to_server: Vec<u8>,
    /// Number of statements that were prepared before in another session.
    pub prepared_again: usize,
}

impl Translation<'_> {
    /// Appends the requests that the server gets for a request of the client.
    pub fn request(&mut self, request: &[u8]) {
        let body = &request[5..];
        match request[0] {
            b'P' if body[0] != 0 => self.parse(body),
            b'B' => {
                let (portal, behind) = text(body);
                let (name, values) = text(behind);
                match self.names.0.get(name).cloned() {
                    Some(text) => {
                        self.prepare(&text);
                        let body = [portal, b"\0", &text.0, b"\0", values].concat();
                        self.pass(&framed(b'B', &body), Change::None);
                    }
                    None => self.pass(request, Change::None),
                }
            }
            b'D' if body[0] == b'S' => match self.names.0.get(text(&body[1..]).0).cloned() {
                Some(text) => {
                    self.prepare(&text);
                    self.pass(&framed(b'D', &[b"S", &*text.0, b"\0"].concat()), Change::None);
                }
                None => self.pass(request, Change::None),
            },
            b'C' if body[0] == b'S' => {
                let name = text(&body[1..]).0;
                match self.names.0.remove(name) {
                    Some(text) => {
                        let change = Change::Unnamed(name.to_vec(), text);
                        self.pipeline.expect(Expected::Made(b'3', change));
                    }
                    None => self.pass(request, Change::None),
                }
            }
            _ => self.pass(request, Change::None),
        }
    }

    fn parse(&mut self, body: &[u8]) {
        let (name, body) = text(body);
        let text = self.texts.of(body);
        let taken = self.names.0.insert(name.to_vec(), Arc::clone(&text));
        assert!(taken.is_none(), "a client has prepared two statements under one name");
        if self.cache.uses(&text) {
            let change = Change::Named(name.to_vec(), None);
            self.pipeline.expect(Expected::Made(b'1', change));
            return;
        }
        self.make_room();
        self.cache.insert(Arc::clone(&text));
        let request = parse(&text);
        self.pass(&request, Change::Named(name.to_vec(), Some(text)));
    }

    /// Prepares a statement in this session, unless it is.
    fn prepare(&mut self, text: &Text) {
        if self.cache.uses(text) {
            return;
        }
        self.make_room();
        self.cache.insert(Arc::clone(text));
        self.prepared_again += 1;
        self.to_server.extend(parse(text));
        self.pipeline.expect(Expected::Swallowed(Change::Prepared(Arc::clone(text))));
    }

    fn make_room(&mut self) {
        while self.cache.texts.len() >= self.cache.limit {
            let evicted = self.cache.texts.remove(0);
            self.to_server.extend(framed(b'C', &[b"S", &*evicted.0, b"\0"].concat()));
            self.pipeline.expect(Expected::Swallowed(Change::Closed(evicted)));
        }
    }

    fn pass(&mut self, request: &[u8], change: Change) {
        self.pipeline.passed(request[0], change);
        self.to_server.extend(request);
    }
}

fn parse(text: &Text) -> Vec<u8> {
    framed(b'P', &[&*text.0, b"\0", &text.1].concat())
}
