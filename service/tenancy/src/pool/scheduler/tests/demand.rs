//! How tenants get further slots, with a clock that the test sets.

use super::{
    super::state::{Assignment, State},
    *,
};

/// Two statements at a time, of tenants that prefer the same slot, of which the second has to wait
/// for the first. Returns the slots of the second ones.
fn take_turns(tenants: [u64; 2], turns: usize, pause: Duration) -> Vec<usize> {
    let (mut state, mut now) = (State::new(SLOTS, 8, ALL), Instant::now());
    let [one, other] = tenants.map(statement);
    let took = Duration::from_micros(300);
    let turns = (0..turns).map(|_| {
        now += pause;
        let first = state.request(one, now).unwrap();
        assert!(matches!(first, Assignment::Now(2)), "{first:?}");
        let second = state.request(other, now).unwrap();
        now += took;
        state.release(2, now);
        let slot = match second {
            Assignment::Now(slot) => slot,
            Assignment::Queued(mut queued) => queued.receiver.try_recv().unwrap(),
        };
        now += took;
        state.release(slot, now);
        slot
    });
    turns.collect()
}

#[test]
fn a_tenant_in_demand_gets_another_slot_and_one_that_seldom_waits_keeps_its_own() {
    let [one, other] = [tenant_of(2, 1), tenant_of(2, 2)];
    let second = Duration::from_secs(1);
    // After this many turns.
    let first_elsewhere = |slots: &[usize]| slots.iter().position(|slot| *slot != 2);
    assert_eq!(first_elsewhere(&take_turns([one, other], 2000, second)), None);
    assert_eq!(first_elsewhere(&take_turns([one, one], 2000, second)), None);
    let behind_itself = take_turns([one, one], 2000, Duration::ZERO);
    let behind_others = take_turns([one, other], 2000, Duration::ZERO);
    let [itself, others] =
        [&behind_itself, &behind_others].map(|slots| first_elsewhere(slots).expect("it waits on"));
    assert!(itself * 10 < others, "{itself} {others}");
    // It stays there.
    let elsewhere = &behind_others[others..];
    assert!(elsewhere.iter().all(|slot| *slot == elsewhere[0]), "{elsewhere:?}");
}

#[test]
fn a_tenant_leaves_its_slot_at_once_if_waiting_would_cost_more_than_a_strange_one() {
    let (mut now, millisecond) = (Instant::now(), Duration::from_millis(1));
    let mut state = State::new(SLOTS, 8, ALL);
    let tenants: Vec<_> = (0..40).map(|number| tenant_of(2, number)).collect();
    // A strange connection is worth twelve milliseconds, a transaction takes one.
    for _ in 0..200 {
        for (usage, is_known, took) in [
            (Usage::Statement, true, millisecond),
            (Usage::Statement, false, 4 * millisecond),
            (Usage::OpenEnded, true, millisecond),
        ] {
            state.costs.record(usage, is_known, took);
        }
    }
    let slot = |state: &mut State, request, now| match state.request(request, now).unwrap() {
        Assignment::Now(slot) => Some(slot),
        Assignment::Queued(_) => None,
    };
    assert_eq!(slot(&mut state, long(tenants[0]), now), Some(2));
    // Its end is near.
    let queued = state.request(statement(tenants[1]), now).unwrap();
    assert!(matches!(queued, Assignment::Queued(_)), "{queued:?}");
    // The transaction has taken longer than most, so it may take as long again.
    now += 13 * millisecond;
    let third = slot(&mut state, statement(tenants[2]), now);
    assert!(third.is_some_and(|slot| slot != 2), "{third:?}");
}

#[test]
fn a_tenant_gets_one_slot_more_at_a_time() {
    let (mut state, start) = (State::new(SLOTS, 8, ALL), Instant::now());
    let request = statement(tenant_of(2, 1));
    let millisecond = Duration::from_millis(1);
    // Five statements at once, of which each takes two milliseconds.
    let mut all: Vec<_> = (0..5).map(|_| state.request(request, start).unwrap()).collect();
    let mut received = || {
        let slot = |it: &mut Assignment| match it {
            Assignment::Now(_) => None,
            Assignment::Queued(queued) => queued.receiver.try_recv().ok(),
        };
        all.iter_mut().filter_map(slot).collect::<Vec<_>>()
    };
    state.release(2, start + 2 * millisecond);
    assert_eq!(received(), [2]);
    // All in all they have waited for longer than another slot is worth.
    state.release(2, start + 4 * millisecond);
    let slots = received();
    assert_eq!((slots.len(), slots[0]), (2, 2), "{slots:?}");
    assert_ne!(slots[1], 2);
}

#[test]
fn a_request_that_waits_far_longer_than_others_takes_any_slot() {
    let (mut state, mut now) = (State::new(SLOTS, 8, ALL), Instant::now());
    let held = state.request(statement(tenant_of(2, 1)), now).unwrap();
    assert!(matches!(held, Assignment::Now(2)));
    let tenant = tenant_of(2, 2);
    let Assignment::Queued(Queued { number, patience, .. }) =
        state.request(statement(tenant), now).unwrap()
    else {
        panic!("it does not wait");
    };
    assert!(patience <= LONG_WAIT);
    // Its slot is released to others again and again.
    for round in 0.. {
        now += Duration::from_millis(1);
        assert!(round < 100, "it waits on");
        if let Some(slot) = state.retry(Owner::Tenant(tenant), number, now) {
            assert_ne!(slot, 2);
            return;
        }
    }
}
