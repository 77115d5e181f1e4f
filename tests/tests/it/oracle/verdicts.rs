//! The judge finds each kind of fault, and no others.

use std::time::Duration;

use super::{
    history::{Answer, At, History, Lead, Life, Pause, Place, Read, Span, Write},
    judge::judge,
};

fn at(seconds: u64) -> At {
    Duration::from_secs(seconds)
}

fn span(started: u64, ended: u64) -> Span {
    Span { started: at(started), ended: at(ended) }
}

fn slug() -> Place {
    Place::Slug("acme".to_owned())
}

fn write(place: Place, started: u64, ended: u64) -> Write {
    Write { place, server: 0, span: span(started, ended), answer: Answer::Stored }
}

fn read(place: Place, started: u64, ended: u64, rows: &[usize]) -> Read {
    Read { place, server: 0, span: span(started, ended), rows: Ok(rows.to_vec()) }
}

fn life(name: &str, schema: &str, created: (u64, u64), dropped: Option<(u64, u64)>) -> Life {
    Life {
        slug: name.to_owned(),
        schema: schema.to_owned(),
        created: span(created.0, created.1),
        dropped: dropped.map(|(started, ended)| span(started, ended)),
    }
}

/// A tenant that is dropped from 20 to 21, and another one of its slug from 30 on.
fn two_lives() -> History {
    let first = life("acme", "acme", (1, 2), Some((20, 21)));
    let second = life("acme", "acme_2", (30, 31), None);
    History { lives: vec![first, second], ..History::default() }
}

#[track_caller]
fn finds(history: &History, wanted: &str) {
    let faults = judge(history);
    assert!(faults.iter().any(|fault| fault.contains(wanted)), "{faults:#?}");
}

#[track_caller]
fn finds_nothing(history: &History) {
    let faults = judge(history);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_row_of_an_earlier_tenant_of_the_slug_is_found() {
    let mut history = two_lives();
    history.writes = vec![write(slug(), 5, 6), write(slug(), 35, 36)];
    history.reads = vec![read(slug(), 7, 8, &[0]), read(slug(), 40, 41, &[1])];
    finds_nothing(&history);
    history.reads.push(read(slug(), 42, 43, &[0, 1]));
    finds(&history, "shows a row of another tenant");
}

#[test]
fn a_write_that_waited_during_a_drop_does_not_reach_the_next_tenant() {
    let mut history = two_lives();
    // The server has resolved the tenant at 6, so it resolves it for the second write by 19.
    history.writes = vec![write(slug(), 5, 6), write(slug(), 18, 35)];
    history.reads = vec![read(slug(), 40, 41, &[1])];
    finds(&history, "shows a row of another tenant");
    // A server that was stopped meanwhile may have read the request afterwards.
    history.pauses = vec![Pause { server: 0, span: span(17, 32) }];
    finds_nothing(&history);
}

#[test]
fn a_lost_row_that_was_acknowledged_is_found() {
    let mut history = two_lives();
    history.writes = vec![write(slug(), 5, 6), write(slug(), 7, 8)];
    history.reads = vec![read(slug(), 7, 9, &[0])];
    finds_nothing(&history);
    history.reads.push(read(slug(), 9, 10, &[0]));
    finds(&history, "has lost row 1");
}

#[test]
fn a_write_after_the_drop_is_found() {
    let mut history = two_lives();
    history.writes = vec![write(slug(), 22, 25)];
    finds(&history, "was stored where no tenant was");
}

#[test]
fn a_schema_that_is_used_twice_is_found() {
    let mut history = two_lives();
    finds_nothing(&history);
    history.lives[1].schema = "acme".to_owned();
    finds(&history, "was given to a second tenant");
}

#[test]
fn a_domain_that_is_cached_for_too_long_is_found() {
    let host = || Place::Domain("acme.example.org".to_owned());
    let mut history = History {
        lives: vec![life("one", "one", (1, 2), None), life("two", "two", (1, 2), None)],
        ..History::default()
    };
    let lead = |life, added: (u64, u64), removed: Option<(u64, u64)>| Lead {
        domain: "acme.example.org".to_owned(),
        life,
        added: span(added.0, added.1),
        removed: removed.map(|(started, ended)| span(started, ended)),
    };
    history.leads = vec![lead(0, (3, 4), Some((20, 21))), lead(1, (22, 23), None)];
    let one = || Place::Slug("one".to_owned());
    history.writes = vec![write(one(), 5, 6), write(host(), 23, 24)];
    // Within the time in which a change may be unknown.
    history.reads = vec![read(host(), 23, 24, &[0])];
    finds_nothing(&history);
    history.reads = vec![read(host(), 30, 31, &[0])];
    finds(&history, "shows a row of another tenant");
    history.pauses = vec![Pause { server: 0, span: span(20, 29) }];
    finds_nothing(&history);
}

#[test]
fn a_wrong_answer_a_late_one_and_a_living_tenant_that_is_not_found_are_found() {
    let mut history = two_lives();
    history.reads = vec![read(slug(), 45, 95, &[])];
    finds(&history, "has taken");
    let failed = |answer| Read { rows: Err(answer), ..read(slug(), 40, 41, &[]) };
    history.reads = vec![failed(Answer::Wrong("500".to_owned()))];
    finds(&history, "500");
    history.reads = vec![failed(Answer::NotFound)];
    finds(&history, "though there was one");
    history.reads = vec![Read { rows: Err(Answer::NotFound), ..read(slug(), 20, 31, &[]) }];
    finds_nothing(&history);
    history.reads = vec![read(slug(), 40, 41, &[7])];
    finds(&history, "which was never sent");
    history.writes = vec![write(slug(), 35, 36)];
    history.reads = vec![read(slug(), 40, 41, &[0, 0])];
    finds(&history, "has row 0 twice");
}
