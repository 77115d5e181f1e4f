use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tenantry_registry::Slug;
use tokio::{task::yield_now, time::sleep};

use crate::Limits;

use super::{super::affinity::score, super::request::Hold, state::AGED, *};

const PLACES: usize = 4;

const NONE: Limits = Limits { max_connections: None, max_waiting: None };

/// One tenant may hold all connections.
const ALL: Shares = Shares { connections: PLACES, reserved: 0, waiting: 100 };

fn queue(patience: Duration) -> Arc<Queue> {
    queue_of(ALL, patience)
}

fn queue_of(shares: Shares, patience: Duration) -> Arc<Queue> {
    Arc::new(Queue::new(PLACES, 8, shares, patience))
}

fn slug() -> &'static Slug {
    static SLUG: std::sync::OnceLock<Slug> = std::sync::OnceLock::new();
    SLUG.get_or_init(|| "tenant-1".parse().unwrap())
}

/// A tenant whose own lane this is.
fn tenant_of(lane: usize, number: u64) -> u64 {
    let own = |tenant: &u64| (0..PLACES).max_by_key(|lane| score(*tenant, *lane)) == Some(lane);
    (number * 1_000_000..).find(own).unwrap()
}

fn statement(tenant: u64) -> Ask<'static> {
    Ask { owner: Owner::Tenant(tenant), hold: Hold::Statement, slug: Some(slug()), limits: NONE }
}

fn long(tenant: u64) -> Ask<'static> {
    Ask { hold: Hold::Long, ..statement(tenant) }
}

/// Takes a place that is to be had at once.
fn taken(queue: &Queue, ask: Ask<'_>) -> usize {
    queue.take(ask).now_or_never().expect("it has to wait").unwrap()
}

#[tokio::test]
async fn a_statement_waits_for_its_own_lane_a_moment_and_is_served_there() {
    let queue = queue(Duration::from_secs(5));
    let [one, other] = [tenant_of(2, 1), tenant_of(2, 2)];
    assert_eq!(taken(&queue, statement(one)), 2);
    let waiting = queue.take(statement(other));
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    queue.give_back(2);
    assert_eq!(waiting.now_or_never().unwrap().unwrap(), 2);
}

#[tokio::test]
async fn who_waits_for_too_long_takes_an_idle_connection_and_is_known_there() {
    let queue = queue(Duration::from_secs(5));
    let [one, other] = [tenant_of(2, 1), tenant_of(2, 2)];
    taken(&queue, statement(one));
    let elsewhere = queue.take(statement(other)).await.unwrap();
    assert_ne!(elsewhere, 2);
    queue.give_back(elsewhere);
    assert_eq!(taken(&queue, statement(other)), elsewhere, "no need to wait any more");
}

#[tokio::test]
async fn a_tenant_in_demand_is_served_by_all_connections_at_once() {
    let queue = queue(Duration::from_secs(5));
    let hot = statement(tenant_of(2, 1));
    let mut places: Vec<_> = (0..PLACES).map(|_| taken(&queue, hot)).collect();
    places.sort_unstable();
    assert_eq!(places, [0, 1, 2, 3]);
    // And by whichever is free next.
    let waiting = queue.take(hot);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    queue.give_back(0);
    assert_eq!(waiting.now_or_never().unwrap().unwrap(), 0);
}

#[tokio::test]
async fn nobody_waits_for_what_is_held_for_long() {
    let queue = queue(Duration::from_secs(5));
    assert_eq!(taken(&queue, long(tenant_of(2, 1))), 2);
    assert_ne!(taken(&queue, statement(tenant_of(2, 2))), 2);
    // The registry waits for nobody.
    taken(&queue, Ask { owner: Owner::Registry, hold: Hold::Statement, slug: None, limits: NONE });
}

#[tokio::test]
async fn a_connection_goes_to_who_waits_for_its_lane_but_the_oldest_are_not_forgotten() {
    let queue = queue(Duration::from_secs(5));
    for lane in 0..PLACES {
        taken(&queue, statement(tenant_of(lane, 1)));
    }
    let wait = |tenant| {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move { queue.take(statement(tenant)).await.unwrap() })
    };
    let old = wait(tenant_of(0, 2));
    yield_now().await;
    let young = wait(tenant_of(3, 3));
    yield_now().await;
    queue.give_back(3);
    assert_eq!(young.await.unwrap(), 3);
    sleep(AGED).await;
    let young = wait(tenant_of(3, 4));
    yield_now().await;
    queue.give_back(3);
    assert_eq!(old.await.unwrap(), 3, "it has waited long enough");
    queue.give_back(3);
    assert_eq!(young.await.unwrap(), 3);
}

#[tokio::test]
async fn who_gives_up_leaves_no_place_behind() {
    let queue = queue(Duration::from_secs(5));
    let tenant = tenant_of(1, 1);
    for lane in 0..PLACES {
        taken(&queue, long(tenant_of(lane, 2)));
    }
    // One before a place was handed over, one in between, one by patience.
    for handed in [false, true] {
        let mut waiting = Box::pin(queue.take(statement(tenant)));
        assert!(waiting.as_mut().now_or_never().is_none());
        if handed {
            queue.give_back(1);
        }
        drop(waiting);
    }
    assert_eq!(taken(&queue, long(tenant)), 1);
    let impatient = Queue::new(1, 8, ALL, Duration::from_millis(5));
    taken(&impatient, long(tenant));
    let late = impatient.take(statement(tenant)).await.unwrap_err();
    assert!(matches!(late, DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)));
    impatient.give_back(0);
    taken(&impatient, long(tenant));
}

#[tokio::test]
async fn closing_waits_for_what_is_held_and_refuses_the_others() {
    let queue = queue(Duration::from_secs(5));
    let tenant = tenant_of(1, 1);
    taken(&queue, long(tenant));
    let closing = queue.close();
    tokio::pin!(closing);
    assert!(closing.as_mut().now_or_never().is_none());
    queue.take(statement(tenant)).await.unwrap_err();
    queue.give_back(1);
    closing.await;
}

#[tokio::test]
async fn many_at_once_never_share_a_place() {
    let queue = queue(Duration::from_secs(20));
    let holders: Arc<[Mutex<()>]> = (0..PLACES).map(|_| Mutex::new(())).collect();
    let tasks = (0..50_u64).map(|number| {
        let (queue, holders) = (Arc::clone(&queue), Arc::clone(&holders));
        tokio::spawn(async move {
            for round in 0..40 {
                let tenant = tenant_of(number as usize % PLACES, number + 1);
                let taking = queue.take(statement(tenant));
                let Ok(place) = timeout(Duration::from_millis(round % 4), taking).await else {
                    continue;
                };
                let place = place.unwrap();
                let alone = holders[place].try_lock().expect("two have the same place");
                drop(alone);
                yield_now().await;
                queue.give_back(place);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    for lane in 0..PLACES {
        taken(&queue, statement(tenant_of(lane, 99)));
    }
}

/// A waiting request of a tenant, which is in the queue when this returns.
async fn waiting(queue: &Arc<Queue>, ask: Ask<'static>) -> tokio::task::JoinHandle<usize> {
    let queue = Arc::clone(queue);
    let task = tokio::spawn(async move { queue.take(ask).await.unwrap() });
    yield_now().await;
    task
}

#[tokio::test]
async fn the_next_connection_goes_to_the_tenant_that_holds_the_fewest() {
    let queue = queue(Duration::from_secs(5));
    let [greedy, other] = [tenant_of(0, 1), tenant_of(1, 2)];
    let held: Vec<_> = (0..PLACES).map(|_| taken(&queue, long(greedy))).collect();
    let mut more = Vec::new();
    for _ in 0..20 {
        more.push(waiting(&queue, long(greedy)).await);
    }
    sleep(AGED).await;
    let first = waiting(&queue, statement(other)).await;
    let second = waiting(&queue, statement(other)).await;
    // However long the others have waited, and whatever connection it is.
    queue.give_back(held[0]);
    assert_eq!(first.await.unwrap(), held[0]);
    queue.give_back(held[1]);
    assert_eq!(second.await.unwrap(), held[1]);
    assert!(more.iter().all(|greedy| !greedy.is_finished()));
    queue.give_back(held[0]);
    assert_eq!(more.remove(0).await.unwrap(), held[0]);
}

#[tokio::test]
async fn a_tenant_with_its_share_waits_while_connections_idle() {
    let shares = Shares { connections: 2, reserved: 0, waiting: 100 };
    let queue = queue_of(shares, Duration::from_millis(50));
    let [greedy, other] = [tenant_of(0, 1), tenant_of(1, 2)];
    let held = [taken(&queue, long(greedy)), taken(&queue, long(greedy))];
    let next = waiting(&queue, long(greedy)).await;
    taken(&queue, long(other));
    queue.give_back(held[1]);
    assert_eq!(next.await.unwrap(), held[1]);
    let late = queue.take(long(greedy)).await.unwrap_err();
    assert!(matches!(late, DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)));
}

#[tokio::test]
async fn the_last_connections_are_for_tenants_that_hold_none() {
    let shares = Shares { connections: 3, reserved: 2, waiting: 100 };
    let queue = queue_of(shares, Duration::from_secs(5));
    let tenants: Vec<_> = (0..PLACES).map(|lane| tenant_of(lane, lane as u64 + 1)).collect();
    let mut held: Vec<_> = (0..2).map(|_| taken(&queue, long(tenants[0]))).collect();
    let more = waiting(&queue, long(tenants[0])).await;
    // Several slow tenants leave something to the others.
    held.push(taken(&queue, long(tenants[1])));
    let more_of_other = waiting(&queue, long(tenants[1])).await;
    let last = taken(&queue, long(tenants[2]));
    queue.give_back(last);
    assert!(!more.is_finished() && !more_of_other.is_finished());
    // Two are free: one of those that wait would leave one.
    for place in held {
        queue.give_back(place);
    }
    more.await.unwrap();
    more_of_other.await.unwrap();
}

#[tokio::test]
async fn a_tenant_with_too_many_waiting_statements_is_refused_and_no_other() {
    let queue = queue_of(Shares { waiting: 3, ..ALL }, Duration::from_secs(5));
    let [greedy, other] = [tenant_of(0, 1), tenant_of(1, 2)];
    let held: Vec<_> = (0..PLACES).map(|_| taken(&queue, long(greedy))).collect();
    let mut served = Vec::new();
    for _ in 0..3 {
        served.push(waiting(&queue, statement(greedy)).await);
    }
    let refused = queue.take(statement(greedy)).now_or_never().unwrap().unwrap_err();
    let busy = crate::Busy::find(&refused).unwrap();
    assert_eq!((&busy.slug, busy.waiting), (slug(), 3));
    served.push(waiting(&queue, statement(other)).await);
    // Look-ups are never refused.
    let registry = Ask { owner: Owner::Registry, hold: Hold::Statement, slug: None, limits: NONE };
    for _ in 0..10 {
        served.push(waiting(&queue, registry).await);
    }
    held.into_iter().for_each(|place| queue.give_back(place));
    let mut served: FuturesUnordered<_> = served.into_iter().collect();
    while let Some(place) = served.next().await {
        queue.give_back(place.unwrap());
    }
    taken(&queue, statement(greedy));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_give_up_at_any_moment_leave_no_place_behind() {
    let shares = Shares { connections: 3, reserved: 1, waiting: 50 };
    let queue = queue_of(shares, Duration::from_secs(20));
    let tasks = (0..60_u64).map(|number| {
        let queue = Arc::clone(&queue);
        tokio::spawn(async move {
            for round in 0..200_u64 {
                let random = (number * 200 + round).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                // Half of all requests are one tenant's.
                let tenant = if random % 2 == 0 { 0 } else { random % 7 };
                let ask = statement(tenant_of(tenant as usize % PLACES, tenant + 1));
                let moment = Duration::from_micros(random % 1500);
                let Ok(place) = timeout(moment, queue.take(ask)).await else { continue };
                let Ok(place) = place else { continue };
                sleep(Duration::from_micros(random % 300)).await;
                queue.give_back(place);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let mut state = queue.state();
    assert!(state.is_idle());
    state.close();
}

#[tokio::test]
async fn a_tenant_may_have_limits_of_its_own_which_hold_from_the_next_request_on() {
    let shares = Shares { connections: 2, reserved: 0, waiting: 100 };
    let queue = queue_of(shares, Duration::from_secs(5));
    let limits = |connections, waiting| Limits {
        max_connections: std::num::NonZeroU32::new(connections),
        max_waiting: waiting,
    };
    let ask = |limits| Ask { limits, ..long(tenant_of(0, 1)) };
    let few = ask(limits(1, Some(1)));
    let first = taken(&queue, few);
    let second = waiting(&queue, few).await;
    assert!(queue.take(few).now_or_never().unwrap().is_err(), "only one may wait");
    // More than the share. Requests that wait already are served, too.
    let many = ask(limits(3, None));
    let third = taken(&queue, many);
    let second = second.await.unwrap();
    let fourth = waiting(&queue, many).await;
    queue.give_back(first);
    assert_eq!(fourth.await.unwrap(), first);
    // Fewer again: one that was given back is not handed out, as long as it holds too many.
    let fifth = waiting(&queue, few).await;
    queue.give_back(second);
    queue.give_back(third);
    yield_now().await;
    assert!(!fifth.is_finished());
    queue.give_back(first);
    fifth.await.unwrap();
}
