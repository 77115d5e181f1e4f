//! The recorded events and their times.

use std::{collections::BTreeSet, fmt, time::Duration};

/// Time since the start.
pub type At = Duration;

/// From before an operation started to after its end was known.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub started: At,
    pub ended: At,
}

/// A tenant from its creation to its drop. A later tenant of the same slug is another life.
#[derive(Debug)]
pub struct Life {
    pub slug: String,
    pub schema: String,
    pub created: Span,
    pub dropped: Option<Span>,
}

/// A domain of a life.
#[derive(Debug)]
pub struct Lead {
    pub domain: String,
    pub life: usize,
    pub added: Span,
    pub removed: Option<Span>,
}

/// The host of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    Slug(String),
    Domain(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Stored,
    /// Stored or not: 503, or no answer where that is allowed.
    Unknown,
    /// 404.
    NotFound,
    /// An answer that is always wrong.
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

/// A list request.
#[derive(Debug)]
pub struct Read {
    pub place: Place,
    pub server: usize,
    pub span: Span,
    /// The rows of the list, or the failed answer.
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
    /// Faults that were detected immediately.
    pub faults: Vec<String>,
}

impl Life {
    /// Whether a request of this span can have reached it.
    pub fn may_meet(&self, span: Span) -> bool {
        self.created.started <= span.ended
            && self.dropped.is_none_or(|dropped| span.started <= dropped.ended)
    }

    /// Whether it existed from `from` to `to`.
    pub fn is_there(&self, from: At, to: At) -> bool {
        self.created.ended <= from && self.dropped.is_none_or(|dropped| to <= dropped.started)
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
