//! Requests that the server has not answered yet.

use std::collections::VecDeque;

use super::{
    frames::framed,
    prepared::{Cache, Names, Text},
};

/// The answer to a request.
pub enum Expected {
    /// Is passed on, up to the message that answers a request of this type.
    Passed(u8, Change),
    /// Is not passed on, since the pooler has sent the request.
    Swallowed(Change),
    /// Is made by the pooler, since the request was not passed on.
    Made(u8, Change),
}

/// A change of the known statements that is undone when the server skips the request: after an error
/// it reads nothing up to the next Sync.
pub enum Change {
    None,
    /// Under this name of the client, and perhaps in the server's session.
    Named(Vec<u8>, Option<Text>),
    Unnamed(Vec<u8>, Text),
    Prepared(Text),
    Closed(Text),
}

/// The expected answers, in their order.
#[derive(Default)]
pub struct Pipeline {
    expected: VecDeque<Expected>,
    /// Whether the server reads the data of a COPY.
    copying: bool,
    /// Whether the server ignores requests up to the next Sync, after an error.
    skipping: bool,
}

impl Pipeline {
    pub fn expect(&mut self, expected: Expected) {
        self.expected.push_back(expected);
    }

    /// Whether requests are held back: everything before a ReadyForQuery is answered first, so that
    /// even pipelined transactions get different sessions of the server.
    pub fn holds_back(&self) -> bool {
        !self.copying && self.expected.iter().any(ends_with_ready)
    }

    /// Whether the server would ignore a request of this type.
    pub fn skips(&mut self, request: u8) -> bool {
        self.skipping &= request != b'S';
        self.skipping
    }

    /// Expects the answer to a request that is passed on.
    pub fn passed(&mut self, request: u8, change: Change) {
        match request {
            // CopyDone, CopyFail
            b'c' | b'f' => self.copying = false,
            // CopyData, Flush
            b'd' | b'H' => {}
            kind => self.expect(Expected::Passed(kind, change)),
        }
    }

    /// Appends to `to_client` what it receives of an answer. Returns whether all requests are
    /// answered and no transaction is open.
    pub fn answered(
        &mut self,
        answer: &[u8],
        names: &mut Names,
        cache: &mut Cache,
        to_client: &mut Vec<u8>,
    ) -> bool {
        let mut idle = false;
        let mut passed = true;
        match (answer[0], self.expected.front()) {
            // NoticeResponse, ParameterStatus, NotificationResponse
            (b'N' | b'S' | b'A', _) => {}
            (b'E', _) => {
                self.copying = false;
                while let Some(skipped) = self.expected.pop_front_if(|one| !ends_with_ready(one)) {
                    undo(skipped, names, cache);
                }
                self.skipping = self.expected.is_empty();
            }
            (b'Z', _) => {
                self.expected.pop_front();
                idle = answer[5] == b'I' && self.expected.is_empty();
            }
            // CopyInResponse, CopyBothResponse. The server ignores a Sync that has been sent.
            (b'G' | b'W', _) => {
                self.copying = true;
                self.expected.retain(|one| !matches!(one, Expected::Passed(b'S', _)));
            }
            (b'1' | b'3', Some(Expected::Swallowed(_))) => {
                self.expected.pop_front();
                passed = false;
            }
            (kind, Some(Expected::Passed(request, _))) => {
                if kind == b'C' && matches!(&answer[5..], b"DISCARD ALL\0" | b"DEALLOCATE ALL\0") {
                    names.clear();
                    cache.clear();
                }
                if completes(*request, kind) {
                    self.expected.pop_front();
                }
            }
            (kind, _) => panic!("unexpected answer {:?}", char::from(kind)),
        }
        if passed {
            to_client.extend(answer);
        }
        self.made(to_client);
        idle
    }

    /// Appends the answers of the pooler that are due.
    pub fn made(&mut self, to_client: &mut Vec<u8>) {
        let is_made = |one: &mut Expected| matches!(one, Expected::Made(..));
        while let Some(Expected::Made(kind, _)) = self.expected.pop_front_if(is_made) {
            to_client.extend(framed(kind, b""));
        }
    }
}

fn ends_with_ready(expected: &Expected) -> bool {
    matches!(expected, Expected::Passed(b'Q' | b'S' | b'F', _))
}

/// Whether a message of the server is the last one that answers a request of this type.
fn completes(request: u8, answer: u8) -> bool {
    match request {
        b'P' => answer == b'1',
        b'B' => answer == b'2',
        b'C' => answer == b'3',
        b'D' => matches!(answer, b'T' | b'n'),
        // CommandComplete, EmptyQueryResponse, PortalSuspended
        b'E' => matches!(answer, b'C' | b'I' | b's'),
        _ => false,
    }
}

fn undo(expected: Expected, names: &mut Names, cache: &mut Cache) {
    let (Expected::Passed(_, change) | Expected::Swallowed(change) | Expected::Made(_, change)) =
        expected;
    match change {
        Change::None => {}
        Change::Named(name, prepared) => {
            names.remove(&name);
            if let Some(text) = prepared {
                cache.remove(&text);
            }
        }
        Change::Unnamed(name, text) => names.insert(name, text),
        Change::Prepared(text) => cache.remove(&text),
        Change::Closed(text) => cache.insert(text),
    }
}
