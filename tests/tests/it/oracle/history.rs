//! What has happened, and when.

use std::{collections::BTreeSet, fmt, time::Duration};

/// Time since the beginning.
pub type At = Duration;

/// From the moment before something was begun to the moment after it was known to be done.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub begun: At,
    pub ended: At,
}

/// A tenant from its creation until it is dropped. Another one of the same slug is another life.
#[derive(Debug)]
pub struct Life {
    pub slug: String,
    pub schema: String,
    pub created: Span,
    pub dropped: Option<Span>,
}

/// A domain leading to a life.
#[derive(Debug)]
pub struct Lead {
    pub domain: String,
    pub life: usize,
    pub added: Span,
    pub removed: Option<Span>,
}

/// The name of a host that a request was sent to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    Slug(String),
    Domain(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Stored,
    /// It may be stored or not: 503, or no answer at all while that is allowed.
    Unknown,
    /// 404: there is no such tenant.
    Nobody,
    /// Whatever may never be answered.
    Wrong(String),
}

/// A row that was sent. Its name is its index.
#[derive(Debug)]
pub struct Write {
    pub place: Place,
    pub server: usize,
    pub span: Span,
    pub answer: Answer,
}

/// A list that was asked for.
#[derive(Debug)]
pub struct Read {
    pub place: Place,
    pub server: usize,
    pub span: Span,
    /// The rows of the list, or how it failed.
    pub rows: Result<Vec<usize>, Answer>,
}

/// A time for which a server was stopped.
#[derive(Debug)]
pub struct Pause {
    pub server: usize,
    pub span: Span,
}

#[derive(Debug, Default)]
pub struct History {
    pub lives: Vec<Life>,
    pub leads: Vec<Lead>,
    pub writes: Vec<Write>,
    pub reads: Vec<Read>,
    pub pauses: Vec<Pause>,
    /// What was wrong at once.
    pub faults: Vec<String>,
}

impl Life {
    /// Whether a request of this span can have met it.
    pub fn may_meet(&self, span: Span) -> bool {
        self.created.begun <= span.ended
            && self.dropped.is_none_or(|dropped| span.begun <= dropped.ended)
    }

    /// Whether it was there from before this moment to after that.
    pub fn is_there(&self, from: At, to: At) -> bool {
        self.created.ended <= from && self.dropped.is_none_or(|dropped| to <= dropped.begun)
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = self.writes.iter().filter(|write| write.answer == Answer::Stored).count();
        let slugs: BTreeSet<_> = self.lives.iter().map(|life| &life.slug).collect();
        write!(
            f,
            "{stored} of {} writes stored, {} lists, {} tenants with {} slugs, {} moves of domains, \
             {} pauses",
            self.writes.len(),
            self.reads.len(),
            self.lives.len(),
            slugs.len(),
            self.leads.len(),
            self.pauses.len()
        )
    }
}
