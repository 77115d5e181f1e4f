//! Which lives an answer can have come from.

use std::{collections::BTreeSet, time::Duration};

use super::history::{At, History, Place, Span};

/// How long a server may believe what has changed: a second, and what a busy machine takes.
pub const BELIEF: Duration = Duration::from_millis(2500);

/// Within this time a server that runs has found out which tenant a request is for, if it knows
/// that tenant already.
const RESOLVED: Duration = Duration::from_secs(1);

/// For how long a server knows a tenant at least, once it has answered for it: less than
/// `Config::cache_ttl`.
const KNOWN: Duration = Duration::from_secs(25);

impl History {
    /// The lives that a request of this span may have been answered from.
    pub fn candidates(&self, place: &Place, server: usize, span: Span) -> BTreeSet<usize> {
        match place {
            Place::Slug(slug) => {
                let lives = self.lives.iter().enumerate();
                lives
                    .filter(|(_, life)| life.slug == *slug && life.may_meet(span))
                    .map(|(index, _)| index)
                    .collect()
            }
            Place::Domain(domain) => {
                let leads = self.leads.iter().filter(|lead| lead.domain == *domain);
                leads
                    .filter(|lead| {
                        lead.added.begun <= span.ended
                            && lead.removed.is_none_or(|removed| {
                                span.begun <= self.forgotten(server, removed.ended)
                            })
                    })
                    .map(|lead| lead.life)
                    .collect()
            }
        }
    }

    /// When a server has forgotten what a change at this moment has made wrong.
    pub fn forgotten(&self, server: usize, changed: At) -> At {
        let mut forgotten = changed + BELIEF;
        // In their order, as one may begin before the last one is forgotten.
        for pause in self.pauses.iter().filter(|pause| pause.server == server) {
            if pause.span.begun <= forgotten && pause.span.ended >= changed {
                forgotten = forgotten.max(pause.span.ended + BELIEF);
            }
        }
        forgotten
    }

    /// The life that a request was certainly meant for, as the server knew it and has found it
    /// before it was dropped: it must not reach a successor, however long it waited then.
    /// `answered` is when the server has first answered for each life.
    pub fn meant(
        &self,
        place: &Place,
        server: usize,
        span: Span,
        answered: impl Fn(usize, usize) -> Option<At>,
    ) -> Option<usize> {
        let Place::Slug(slug) = place else { return None };
        let found = span.begun + RESOLVED;
        let runs = !self.pauses.iter().any(|pause| {
            let span = pause.span;
            pause.server == server && span.begun <= found && found <= span.ended + 2 * BELIEF
        });
        let known = |index: usize| {
            answered(server, index).is_some_and(|answered| answered <= span.begun)
                && span.begun <= self.lives[index].created.begun + KNOWN
        };
        let lives = self.lives.iter().enumerate();
        let there =
            lives.filter(|(_, life)| life.slug == *slug && life.is_there(span.begun, found));
        there.map(|(index, _)| index).find(|index| runs && known(*index))
    }
}
