//! The lives from which an answer can come.

use std::{collections::BTreeSet, time::Duration};

use super::history::{At, History, Place, Span};

/// How long a server may use an outdated entry: a second, plus a margin for a busy machine.
pub const BELIEF: Duration = Duration::from_millis(2500);

/// Within this time a running server has resolved the tenant of a request, if the tenant is cached.
const RESOLVED: Duration = Duration::from_secs(1);

/// How long a server has cached a tenant at least after it has answered for it: less than
/// `Config::cache_ttl`.
const KNOWN: Duration = Duration::from_secs(25);

impl History {
    /// The lives from which a request of this span may have been answered.
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
                        lead.added.started <= span.ended
                            && lead.removed.is_none_or(|removed| {
                                span.started <= self.forgotten(server, removed.ended)
                            })
                    })
                    .map(|lead| lead.life)
                    .collect()
            }
        }
    }

    /// When a server no longer uses entries that a change at this time has invalidated.
    pub fn forgotten(&self, server: usize, changed: At) -> At {
        let mut forgotten = changed + BELIEF;
        // In order, since one may start before the entry of the last one has expired.
        for pause in self.pauses.iter().filter(|pause| pause.server == server) {
            if pause.span.started <= forgotten && pause.span.ended >= changed {
                forgotten = forgotten.max(pause.span.ended + BELIEF);
            }
        }
        forgotten
    }

    /// The life for which a request was resolved with certainty, because the server had cached it
    /// before it was dropped: the request must not reach a successor, even if it waited for long.
    /// `answered` is when the server has first answered for each life.
    pub fn meant(
        &self,
        place: &Place,
        server: usize,
        span: Span,
        answered: impl Fn(usize, usize) -> Option<At>,
    ) -> Option<usize> {
        let Place::Slug(slug) = place else { return None };
        let found = span.started + RESOLVED;
        let runs = !self.pauses.iter().any(|pause| {
            let span = pause.span;
            pause.server == server && span.started <= found && found <= span.ended + 2 * BELIEF
        });
        let known = |index: usize| {
            answered(server, index).is_some_and(|answered| answered <= span.started)
                && span.started <= self.lives[index].created.started + KNOWN
        };
        let lives = self.lives.iter().enumerate();
        let there =
            lives.filter(|(_, life)| life.slug == *slug && life.is_there(span.started, found));
        there.map(|(index, _)| index).find(|index| runs && known(*index))
    }
}
