//! Finds answers that no order of events can explain.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use super::{
    history::{Answer, At, History, Place, Span},
    rules::BELIEF,
};

/// The deadline of a request, plus a margin for a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// The faults of a history, one per line.
pub fn judge(history: &History) -> Vec<String> {
    let mut judge = Judge::new(history);
    judge.schemas();
    judge.writes();
    judge.reads();
    judge.faults
}

struct Judge<'a> {
    history: &'a History,
    faults: Vec<String>,
    /// The lives in which each row can be.
    rows: Vec<BTreeSet<usize>>,
}

impl<'a> Judge<'a> {
    fn new(history: &'a History) -> Self {
        // When each server has first answered a write that only one life explains.
        let mut answered: HashMap<(usize, usize), At> = HashMap::new();
        for write in history.writes.iter().filter(|write| write.answer == Answer::Stored) {
            let lives = history.candidates(&write.place, write.server, write.span);
            if let (Some(life), 1) = (lives.first(), lives.len()) {
                let at = answered.entry((write.server, *life)).or_insert(write.span.ended);
                *at = write.span.ended.min(*at);
            }
        }
        let rows = history.writes.iter().map(|write| {
            let (place, server, span) = (&write.place, write.server, write.span);
            let known = |server, life| answered.get(&(server, life)).copied();
            match history.meant(place, server, span, known) {
                Some(life) => BTreeSet::from([life]),
                None => history.candidates(place, server, span),
            }
        });
        let rows = rows.collect();
        Self { history, faults: history.faults.clone(), rows }
    }

    fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    /// Schema names are not reused.
    fn schemas(&mut self) {
        let mut seen = HashSet::new();
        for life in &self.history.lives {
            if !seen.insert(&life.schema) {
                self.fault(format!("the schema {} was given to a second tenant", life.schema));
            }
        }
    }

    fn writes(&mut self) {
        for (row, write) in self.history.writes.iter().enumerate() {
            self.answer(&write.place, write.server, write.span, Some(&write.answer));
            if write.answer == Answer::Stored && self.rows[row].is_empty() {
                self.fault(format!("row {row} was stored where no tenant was: {write:?}"));
            }
        }
    }

    fn reads(&mut self) {
        // The stored rows that can only be in this life.
        let mut kept: HashMap<usize, Vec<usize>> = HashMap::new();
        for (row, write) in self.history.writes.iter().enumerate() {
            if let (Answer::Stored, 1, Some(life)) =
                (&write.answer, self.rows[row].len(), self.rows[row].first())
            {
                kept.entry(*life).or_default().push(row);
            }
        }
        for (number, read) in self.history.reads.iter().enumerate() {
            self.answer(&read.place, read.server, read.span, read.rows.as_ref().err());
            let Ok(rows) = &read.rows else { continue };
            let about = |text: &str| {
                format!("list {number} of {:?} by server {} {text}", read.place, read.server)
            };
            let lives = self.history.candidates(&read.place, read.server, read.span);
            let mut found = lives.clone();
            let mut seen = HashSet::new();
            for row in rows {
                if !seen.insert(row) {
                    self.fault(about(&format!("has row {row} twice")));
                }
                let Some(homes) = self.rows.get(*row) else {
                    self.fault(about(&format!("has row {row}, which was never sent")));
                    continue;
                };
                found.retain(|life| homes.contains(life));
                if found.is_empty() {
                    let write = &self.history.writes[*row];
                    self.fault(about(&format!(
                        "at {:?} shows a row of another tenant: {write:?}, of lives {homes:?}, \
                         the list of {lives:?}",
                        read.span
                    )));
                    break;
                }
            }
            // A row that can be in several lives is restricted to one of these.
            for row in rows {
                if let Some(homes) = self.rows.get_mut(*row)
                    && !found.is_empty()
                {
                    homes.retain(|life| found.contains(life));
                }
            }
            let mut only = lives.iter();
            let (Some(life), None) = (only.next(), only.next()) else { continue };
            for row in kept.get(life).into_iter().flatten() {
                let write = &self.history.writes[*row];
                if write.span.ended < read.span.started && !seen.contains(row) {
                    self.fault(about(&format!("has lost row {row}: {write:?}")));
                    break;
                }
            }
        }
    }

    /// Rules for all answers.
    fn answer(&mut self, place: &Place, server: usize, span: Span, failed: Option<&Answer>) {
        let paused: Duration = self
            .history
            .pauses
            .iter()
            .filter(|pause| pause.server == server)
            .map(|pause| {
                let (from, to) =
                    (pause.span.started.max(span.started), pause.span.ended.min(span.ended));
                to.saturating_sub(from)
            })
            .sum();
        let took = span.ended.saturating_sub(span.started).saturating_sub(paused);
        if took > PATIENCE {
            self.fault(format!("server {server} has taken {took:?} for {place:?} at {span:?}"));
        }
        match failed {
            Some(Answer::Wrong(text)) => {
                self.fault(format!("server {server} answered {place:?} at {span:?}: {text}"));
            }
            Some(Answer::NotFound) if self.is_served(place, server, span) => {
                self.fault(format!(
                    "server {server} found no tenant for {place:?} at {span:?}, though there was one"
                ));
            }
            _ => {}
        }
    }

    /// Whether a tenant existed from so long before a request that the server knows it, to after it.
    fn is_served(&self, place: &Place, server: usize, span: Span) -> bool {
        let History { lives, leads, .. } = self.history;
        let known = |added: At| self.history.forgotten(server, added) <= span.started;
        let there = |life: &super::history::Life| {
            known(life.created.ended) && life.is_there(span.started, span.ended + BELIEF)
        };
        match place {
            Place::Slug(slug) => lives.iter().any(|life| life.slug == *slug && there(life)),
            Place::Domain(domain) => leads.iter().any(|lead| {
                lead.domain == *domain
                    && known(lead.added.ended)
                    && lead.removed.is_none_or(|removed| span.ended < removed.started)
                    && there(&lives[lead.life])
            }),
        }
    }
}
