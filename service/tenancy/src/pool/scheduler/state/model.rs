//! The queue against a model of its callers, with a clock that the test sets.

use proptest::prelude::*;

use super::*;
use crate::{Config, Limits};

/// The first owners of a case are tenants, the last ones the registry and the lifecycle.
const OWNERS: usize = 8;

#[derive(Debug, Clone)]
enum Step {
    Ask {
        owner: usize,
        long: bool,
    },
    /// Of those that hold a place, by its number.
    GiveBack(usize),
    /// Of those that wait, by its number.
    GiveUp(usize),
    /// A place is given back, and at the same moment a caller gives up, which may have been handed
    /// the place.
    Both(usize, usize),
    /// Milliseconds.
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..OWNERS, any::<bool>()).prop_map(|(owner, long)| Step::Ask { owner, long }),
        4 => any::<usize>().prop_map(Step::GiveBack),
        1 => any::<usize>().prop_map(Step::GiveUp),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(place, caller)| Step::Both(place, caller)),
        2 => (0..30_u64).prop_map(Step::Pass),
    ]
}

struct Caller {
    owner: Owner,
    number: u64,
    since: Instant,
    /// Whether it has asked again.
    late: bool,
    receiver: oneshot::Receiver<usize>,
}

struct Model {
    state: State,
    shares: Shares,
    now: Instant,
    places: usize,
    holding: Vec<(usize, Owner)>,
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
    fn new(places: usize, share: u32, reserved: u32, waiting: u32) -> Self {
        let mut config = Config::new("postgres://localhost", crate::test_migrator::Migrator);
        config.max_connections = u32::try_from(places).unwrap();
        config.tenant_share = share;
        (config.reserved_connections, config.max_waiting) = (reserved, waiting);
        let shares = Shares::new(&config);
        let slug = "tenant-1".parse().unwrap();
        let (state, now) = (State::new(places, 8, shares), Instant::now());
        Self { state, shares, now, places, holding: Vec::new(), waiting: Vec::new(), slug }
    }

    fn held(&self, owner: Owner) -> usize {
        self.holding.iter().filter(|held| held.1 == owner).count()
    }

    fn may_have_one(&self, owner: Owner) -> bool {
        let free = self.places - self.holding.len();
        self.shares.allow(self.held(owner), self.shares.connections, free)
    }

    /// The oldest waiting caller of each owner, and whether it takes any place.
    fn oldest(&self) -> Vec<(Owner, bool)> {
        let owners = (0..OWNERS).map(owner);
        let oldest = owners.filter_map(|owner| {
            let mut of_owner = self.waiting.iter().filter(|caller| caller.owner == owner);
            let oldest = of_owner.next()?;
            Some((owner, oldest.late || of_owner.next().is_some()))
        });
        oldest.collect()
    }

    /// A caller has been given a place.
    fn granted(&mut self, place: usize, owner: Owner) {
        assert!(self.holding.iter().all(|held| held.0 != place), "two callers hold place {place}");
        self.holding.push((place, owner));
        let (held, free) = (self.held(owner), self.places - self.holding.len());
        assert!(held <= self.shares.connections, "{owner:?} holds {held}");
        assert!(held == 1 || free >= self.shares.reserved, "{owner:?} took a reserved place");
    }

    /// Callers receive what they were handed.
    fn receive(&mut self) {
        for index in (0..self.waiting.len()).rev() {
            let Ok(place) = self.waiting[index].receiver.try_recv() else { continue };
            let Caller { owner, number, .. } = self.waiting.remove(index);
            self.granted(place, owner);
            let before = |caller: &Caller| caller.owner == owner && caller.number < number;
            // The place was handed over under the lock, and the ones before may still find theirs.
            let mut earlier = self.waiting[..index].iter_mut().filter(|caller| before(caller));
            assert!(earlier.all(|caller| !caller.receiver.is_empty()), "{owner:?} was overtaken");
        }
    }

    fn give_back(&mut self, place: usize) -> Option<Owner> {
        if self.holding.is_empty() {
            return None;
        }
        let (place, _) = self.holding.remove(place % self.holding.len());
        let fewest: Vec<_> = self.oldest().into_iter().filter(|it| it.1).collect();
        let fewest = fewest.into_iter().map(|(owner, _)| owner);
        let fewest = fewest.filter(|owner| self.may_have_one(*owner));
        let fewest = fewest.map(|owner| self.held(owner)).min();
        let before = self.holding.clone();
        self.state.give_back(place, self.now);
        let next = self.waiting.iter().find(|caller| !caller.receiver.is_empty());
        let next = next.map(|caller| caller.owner);
        if let (Some(next), Some(fewest)) = (next, fewest) {
            let held = before.iter().filter(|held| held.1 == next).count();
            assert!(held <= fewest, "{next:?} holds {held}, others that wait hold {fewest}");
        }
        next
    }

    fn give_up(&mut self, caller: usize) {
        if self.waiting.is_empty() {
            return;
        }
        let mut caller = self.waiting.remove(caller % self.waiting.len());
        self.state.give_up(caller.owner, caller.number);
        if let Ok(place) = caller.receiver.try_recv() {
            self.state.give_back(place, self.now);
        }
    }

    fn pass(&mut self, time: u64) {
        self.now += Duration::from_millis(time);
        for index in 0..self.waiting.len() {
            let Some(caller) = self.waiting.get_mut(index) else { return };
            if caller.late || self.now - caller.since < OWN_WITHIN {
                continue;
            }
            caller.late = true;
            let (owner, number) = (caller.owner, caller.number);
            if let Some(place) = self.state.ask_again(owner, number, self.now) {
                // Marked, so that the order of the others stays as it is.
                self.waiting[index].number = u64::MAX;
                self.granted(place, owner);
            }
        }
        self.waiting.retain(|caller| caller.number != u64::MAX);
    }

    fn carry_out(&mut self, step: &Step) {
        match *step {
            Step::Ask { owner: number, long } => {
                let hold = if long { Hold::Long } else { Hold::Statement };
                let owner = owner(number);
                let slug = self.slug.clone();
                let slug = owner.tenant().map(|_| &slug);
                let before = self.waiting.iter().filter(|caller| caller.owner == owner).count();
                let turn =
                    self.state.ask(Ask { owner, hold, slug, limits: Limits::default() }, self.now);
                // The ones before may have been served first.
                self.receive();
                match turn {
                    Ok(Turn::Now(place)) => {
                        let waits = self.waiting.iter().any(|caller| caller.owner == owner);
                        assert!(!waits, "{owner:?} was overtaken");
                        self.granted(place, owner);
                    }
                    Ok(Turn::Later(number, receiver)) => {
                        let (since, late) = (self.now, false);
                        self.waiting.push(Caller { owner, number, since, late, receiver });
                    }
                    Err(busy) => {
                        assert!(slug.is_some() && busy.waiting >= self.shares.waiting);
                        assert!(before >= self.shares.waiting && before >= busy.waiting);
                    }
                }
            }
            Step::GiveBack(place) => {
                self.give_back(place);
            }
            Step::GiveUp(caller) => self.give_up(caller),
            Step::Both(place, caller) => {
                self.give_back(place);
                self.give_up(caller);
            }
            Step::Pass(time) => self.pass(time),
        }
        self.receive();
        for (owner, takes_any) in self.oldest() {
            assert!(!takes_any || !self.may_have_one(owner), "a place idles while {owner:?} waits");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_served_in_turn_within_its_share_and_no_place_is_lost(
        (places, share, reserved, waiting) in (1..10_usize, 1..=100_u32, 0..4_u32, 0..6_u32),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut model = Model::new(places, share, reserved, waiting);
        for step in &steps {
            model.carry_out(step);
        }
        let mut rounds = model.waiting.len() + 1;
        while !model.waiting.is_empty() {
            prop_assert!(rounds > 0, "{} wait for ever", model.waiting.len());
            rounds -= 1;
            model.carry_out(&Step::Pass(5));
            for _ in 0..model.holding.len() {
                model.carry_out(&Step::GiveBack(0));
            }
        }
        while !model.holding.is_empty() {
            model.carry_out(&Step::GiveBack(0));
        }
        prop_assert!(model.state.is_idle() && model.state.waiting.is_empty());
    }
}
