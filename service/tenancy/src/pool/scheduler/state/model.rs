//! The scheduler against a model of its callers, with a clock that the test sets.

use proptest::prelude::*;

use super::*;
use crate::{limits::Limits, pool::PoolOptions};

/// The first owners of a case are tenants, the last ones the registry and the lifecycle.
const OWNERS: usize = 8;

#[derive(Debug, Clone)]
enum Step {
    Request {
        owner: usize,
        long: bool,
    },
    /// By one of the callers that hold a slot.
    Release(usize),
    /// By one of the callers that wait.
    Cancel(usize),
    /// A slot is released while a caller cancels, which may have been handed the slot.
    ReleaseAndCancel(usize, usize),
    /// Milliseconds.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..OWNERS, any::<bool>()).prop_map(|(owner, long)| Step::Request { owner, long }),
        4 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(slot, caller)| Step::ReleaseAndCancel(slot, caller)),
        2 => (0..100_u64).prop_map(Step::Pass),
    ]
}

struct Caller {
    owner: Owner,
    number: u64,
    since: Instant,
    /// When it asks again for a slot, and how often it does.
    next: Instant,
    patience: Duration,
    receiver: oneshot::Receiver<usize>,
}

#[derive(Clone)]
struct Holder {
    slot: usize,
    owner: Owner,
}

struct Model {
    state: State,
    shares: Shares,
    now: Instant,
    slots: usize,
    holding: Vec<Holder>,
    waiting: Vec<Caller>,
    slug: tenantry_registry::Slug,
}

fn owner(number: usize) -> Owner {
    match number {
        6 => Owner::Registry,
        7 => Owner::Lifecycle,
        tenant => Owner::Tenant(tenant as u64 * 7919),
    }
}

impl Model {
    fn new(slots: usize, share: usize, reserved: usize, waiting: usize) -> Self {
        let mut options = PoolOptions::for_tests();
        options.max_connections = slots;
        options.tenant_share = share;
        (options.reserved_connections, options.max_waiting) = (reserved, waiting);
        let shares = Shares::new(&options);
        let slug = "tenant-1".parse().unwrap();
        let (state, now) = (State::new(slots, 8, shares), Instant::now());
        Self { state, shares, now, slots, holding: Vec::new(), waiting: Vec::new(), slug }
    }

    fn held(&self, owner: Owner) -> usize {
        self.holding.iter().filter(|held| held.owner == owner).count()
    }

    fn preferred(&self, owner: Owner) -> Option<usize> {
        let tenant = owner.tenant()?;
        (0..self.slots).max_by_key(|slot| rendezvous_score(tenant, *slot))
    }

    /// Whether an owner that waits takes this slot if it may.
    fn accepts(&self, owner: Owner, slot: usize) -> bool {
        let mut of_owner = self.waiting.iter().filter(|caller| caller.owner == owner);
        let has_waited =
            of_owner.next().is_some_and(|it| self.now - it.since >= self.state.costs.long_wait());
        has_waited || self.preferred(owner).is_none_or(|preferred| preferred == slot)
    }

    fn may_have_one(&self, owner: Owner) -> bool {
        let free = self.slots - self.holding.len();
        self.shares.allow(self.held(owner), self.shares.connections, free)
    }

    /// The owners that wait and may have another slot.
    fn waiting_owners(&self) -> impl Iterator<Item = Owner> {
        let waits = |owner: &Owner| self.waiting.iter().any(|caller| caller.owner == *owner);
        (0..OWNERS).map(owner).filter(move |owner| waits(owner) && self.may_have_one(*owner))
    }

    /// A caller has got a slot.
    fn granted(&mut self, slot: usize, owner: Owner) {
        assert!(self.holding.iter().all(|held| held.slot != slot), "two callers hold slot {slot}");
        self.holding.push(Holder { slot, owner });
        let (held, free) = (self.held(owner), self.slots - self.holding.len());
        assert!(held <= self.shares.connections, "{owner:?} holds {held}");
        assert!(held == 1 || free >= self.shares.reserved, "{owner:?} took a reserved slot");
    }

    /// Callers receive the slots that they were handed.
    fn receive(&mut self) {
        for index in (0..self.waiting.len()).rev() {
            let Ok(slot) = self.waiting[index].receiver.try_recv() else { continue };
            let Caller { owner, number, .. } = self.waiting.remove(index);
            self.granted(slot, owner);
            let before = |caller: &Caller| caller.owner == owner && caller.number < number;
            // Slots are handed over under the lock, so earlier callers may still receive theirs.
            let mut earlier = self.waiting[..index].iter_mut().filter(|caller| before(caller));
            assert!(earlier.all(|caller| !caller.receiver.is_empty()), "{owner:?} was overtaken");
        }
    }

    /// One of the callers that hold a slot releases it.
    fn release(&mut self, number: usize) -> Option<usize> {
        let number = number.checked_rem(self.holding.len())?;
        let Holder { slot, .. } = self.holding.remove(number);
        self.state.release(slot, self.now);
        Some(slot)
    }

    /// The same; the next holder is one of the owners that hold the fewest.
    fn release_in_turn(&mut self, number: usize) {
        let Some(number) = number.checked_rem(self.holding.len()) else { return };
        let Holder { slot, owner } = self.holding.remove(number);
        let waiting = self.waiting_owners().filter(|owner| self.accepts(*owner, slot));
        let fewest = waiting.map(|owner| self.held(owner)).min();
        let before = self.holding.clone();
        self.holding.insert(number, Holder { slot, owner });
        self.release(number);
        self.receive();
        let next = self.holding.iter().find(|held| held.slot == slot).map(|held| held.owner);
        if let (Some(next), Some(fewest)) = (next, fewest) {
            let held = before.iter().filter(|held| held.owner == next).count();
            assert!(held <= fewest, "{next:?} holds {held}, others that wait hold {fewest}");
        }
    }

    fn cancel(&mut self, caller: usize) {
        if self.waiting.is_empty() {
            return;
        }
        let mut caller = self.waiting.remove(caller % self.waiting.len());
        self.state.cancel(caller.owner, caller.number);
        if let Ok(slot) = caller.receiver.try_recv() {
            self.state.release(slot, self.now);
        }
    }

    fn pass(&mut self, time: u64) {
        self.now += Duration::from_millis(time);
        for index in 0..self.waiting.len() {
            let Some(caller) = self.waiting.get_mut(index) else { return };
            if self.now < caller.next {
                continue;
            }
            caller.next = self.now + caller.patience;
            let (owner, number) = (caller.owner, caller.number);
            if let Some(slot) = self.state.retry(owner, number, self.now) {
                // Marked and removed later, to keep the indexes of the others.
                self.waiting[index].number = u64::MAX;
                self.granted(slot, owner);
            }
        }
        self.waiting.retain(|caller| caller.number != u64::MAX);
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Request { owner: number, long } => {
                let usage = if long { Usage::OpenEnded } else { Usage::Statement };
                let owner = owner(number);
                let slug = self.slug.clone();
                let slug = owner.tenant().map(|_| &slug);
                let before = self.waiting.iter().filter(|caller| caller.owner == owner).count();
                let assignment = self.state.request(
                    Request {
                        owner,
                        usage,
                        tenant: owner.tenant(),
                        slug,
                        limits: Limits::default(),
                    },
                    self.now,
                );
                // Earlier callers may have been served first.
                self.receive();
                match assignment {
                    Ok(Assignment::Now(slot)) => {
                        let waits = self.waiting.iter().any(|caller| caller.owner == owner);
                        assert!(!waits, "{owner:?} was overtaken");
                        self.granted(slot, owner);
                    }
                    Ok(Assignment::Queued(Queued { number, patience, receiver })) => {
                        let (since, next) = (self.now, self.now + patience);
                        let caller = Caller { owner, number, since, next, patience, receiver };
                        self.waiting.push(caller);
                    }
                    Err(busy) => {
                        assert!(slug.is_some() && busy.waiting >= self.shares.waiting);
                        assert!(before >= self.shares.waiting && before >= busy.waiting);
                    }
                }
            }
            Step::Release(slot) => self.release_in_turn(slot),
            Step::Cancel(caller) => self.cancel(caller),
            Step::ReleaseAndCancel(slot, caller) => {
                self.release(slot);
                self.cancel(caller);
            }
            Step::Pass(time) => self.pass(time),
        }
        self.receive();
        // All callers have asked again then.
        if matches!(step, Step::Pass(time) if *time >= 50) {
            let is_free = |slot: &usize| self.holding.iter().all(|held| held.slot != *slot);
            for owner in self.waiting_owners() {
                let accepts = |slot: &usize| self.accepts(owner, *slot);
                let idle = (0..self.slots).filter(is_free).find(accepts);
                assert!(idle.is_none(), "slot {idle:?} idles while {owner:?} waits");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_served_in_turn_within_its_share_and_no_slot_is_lost(
        (slots, share, reserved, waiting) in (1..10_usize, 1..=100_usize, 0..4_usize, 0..6_usize),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut model = Model::new(slots, share, reserved, waiting);
        for step in &steps {
            model.run(step);
        }
        let mut rounds = model.waiting.len() + 1;
        while !model.waiting.is_empty() {
            prop_assert!(rounds > 0, "{} wait forever", model.waiting.len());
            rounds -= 1;
            model.run(&Step::Pass(50));
            for _ in 0..model.holding.len() {
                model.run(&Step::Release(0));
            }
        }
        while !model.holding.is_empty() {
            model.run(&Step::Release(0));
        }
        prop_assert!(model.state.is_idle() && model.state.waiting.is_empty());
    }
}
