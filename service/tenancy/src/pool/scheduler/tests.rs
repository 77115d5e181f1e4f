mod demand;

use std::sync::Arc;

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tenantry_registry::Slug;
use tokio::{task::yield_now, time::sleep};

use crate::limits::Limits;

use super::{super::affinity::rendezvous_score, super::request::Usage, *};

const SLOTS: usize = 4;

const NONE: Limits = Limits { max_connections: None, max_waiting: None };

/// One tenant may hold all connections.
const ALL: Shares = Shares { connections: SLOTS, reserved: 0, waiting: 100 };

fn scheduler(acquire_timeout: Duration) -> Arc<Scheduler> {
    scheduler_with(ALL, acquire_timeout)
}

fn scheduler_with(shares: Shares, acquire_timeout: Duration) -> Arc<Scheduler> {
    Arc::new(Scheduler::new(SLOTS, 8, shares, acquire_timeout))
}

fn slug() -> &'static Slug {
    static SLUG: std::sync::OnceLock<Slug> = std::sync::OnceLock::new();
    SLUG.get_or_init(|| "tenant-1".parse().unwrap())
}

/// A tenant that prefers this slot.
fn tenant_of(slot: usize, number: u64) -> u64 {
    let own =
        |tenant: &u64| (0..SLOTS).max_by_key(|slot| rendezvous_score(*tenant, *slot)) == Some(slot);
    (number * 1_000_000..).find(own).unwrap()
}

fn statement(tenant: u64) -> Request<'static> {
    Request {
        owner: Owner::Tenant(tenant),
        usage: Usage::Statement,
        tenant: Some(tenant),
        slug: Some(slug()),
        limits: NONE,
    }
}

fn long(tenant: u64) -> Request<'static> {
    Request { usage: Usage::OpenEnded, ..statement(tenant) }
}

/// Acquires a slot without waiting.
fn acquired(scheduler: &Scheduler, request: Request<'_>) -> usize {
    scheduler.acquire(request).now_or_never().expect("it has to wait").unwrap()
}

#[tokio::test]
async fn a_statement_waits_briefly_for_its_preferred_slot() {
    let scheduler = scheduler(Duration::from_secs(5));
    let [one, other] = [tenant_of(2, 1), tenant_of(2, 2)];
    assert_eq!(acquired(&scheduler, statement(one)), 2);
    let waiting = scheduler.acquire(statement(other));
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    scheduler.release(2);
    assert_eq!(waiting.now_or_never().unwrap().unwrap(), 2);
}

#[tokio::test]
async fn a_statement_that_has_waited_takes_an_idle_slot_and_gets_it_again() {
    let scheduler = scheduler(Duration::from_secs(5));
    let [one, other] = [tenant_of(2, 1), tenant_of(2, 2)];
    acquired(&scheduler, statement(one));
    let elsewhere = scheduler.acquire(statement(other)).await.unwrap();
    assert_ne!(elsewhere, 2);
    scheduler.release(elsewhere);
    assert_eq!(acquired(&scheduler, statement(other)), elsewhere, "no need to wait any more");
}

#[tokio::test]
async fn a_busy_tenant_is_served_by_all_slots() {
    let scheduler = scheduler(Duration::from_secs(5));
    let hot = statement(tenant_of(2, 1));
    let mut slots = Vec::new();
    for _ in 0..SLOTS {
        slots.push(scheduler.acquire(hot).await.unwrap());
    }
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2, 3]);
    // And by the next that is free.
    let waiting = scheduler.acquire(hot);
    tokio::pin!(waiting);
    assert!(waiting.as_mut().now_or_never().is_none());
    scheduler.release(0);
    assert_eq!(waiting.now_or_never().unwrap().unwrap(), 0);
}

#[tokio::test]
async fn no_request_waits_for_a_slot_that_is_held_long() {
    let scheduler = scheduler(Duration::from_secs(5));
    assert_eq!(acquired(&scheduler, long(tenant_of(2, 1))), 2);
    assert_ne!(acquired(&scheduler, statement(tenant_of(2, 2))), 2);
    // The registry takes any connection at once.
    acquired(
        &scheduler,
        Request {
            owner: Owner::Registry,
            usage: Usage::Statement,
            tenant: None,
            slug: None,
            limits: NONE,
        },
    );
}

#[tokio::test]
async fn a_slot_goes_to_requests_that_prefer_it_unless_another_has_waited_long() {
    let scheduler = scheduler(Duration::from_secs(5));
    for slot in 0..SLOTS {
        acquired(&scheduler, statement(tenant_of(slot, 1)));
    }
    let wait = |tenant| {
        let scheduler = Arc::clone(&scheduler);
        tokio::spawn(async move { scheduler.acquire(statement(tenant)).await.unwrap() })
    };
    let old = wait(tenant_of(0, 2));
    yield_now().await;
    let young = wait(tenant_of(3, 3));
    yield_now().await;
    scheduler.release(3);
    assert_eq!(young.await.unwrap(), 3);
    sleep(LONG_WAIT).await;
    let young = wait(tenant_of(3, 4));
    yield_now().await;
    scheduler.release(3);
    assert_eq!(old.await.unwrap(), 3, "it has waited long enough");
    scheduler.release(3);
    assert_eq!(young.await.unwrap(), 3);
}

#[tokio::test]
async fn a_cancelled_request_leaves_no_slot_taken() {
    let scheduler = scheduler(Duration::from_secs(5));
    let tenant = tenant_of(1, 1);
    for slot in 0..SLOTS {
        acquired(&scheduler, long(tenant_of(slot, 2)));
    }
    // Before a slot is handed over, after that, and by timeout.
    for handed in [false, true] {
        let mut waiting = Box::pin(scheduler.acquire(statement(tenant)));
        assert!(waiting.as_mut().now_or_never().is_none());
        if handed {
            scheduler.release(1);
        }
        drop(waiting);
    }
    assert_eq!(acquired(&scheduler, long(tenant)), 1);
    let impatient = Scheduler::new(1, 8, ALL, Duration::from_millis(5));
    acquired(&impatient, long(tenant));
    let late = impatient.acquire(statement(tenant)).await.unwrap_err();
    assert!(matches!(late, DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)));
    impatient.release(0);
    acquired(&impatient, long(tenant));
}

#[tokio::test]
async fn closing_waits_for_held_slots_and_refuses_waiting_requests() {
    let scheduler = scheduler(Duration::from_secs(5));
    let tenant = tenant_of(1, 1);
    acquired(&scheduler, long(tenant));
    let closing = scheduler.close();
    tokio::pin!(closing);
    assert!(closing.as_mut().now_or_never().is_none());
    scheduler.acquire(statement(tenant)).await.unwrap_err();
    scheduler.release(1);
    closing.await;
}

#[tokio::test]
async fn concurrent_requests_never_share_a_slot() {
    let scheduler = scheduler(Duration::from_secs(20));
    let holders: Arc<[Mutex<()>]> = (0..SLOTS).map(|_| Mutex::new(())).collect();
    let tasks = (0..50_u64).map(|number| {
        let (scheduler, holders) = (Arc::clone(&scheduler), Arc::clone(&holders));
        tokio::spawn(async move {
            for round in 0..40 {
                let tenant = tenant_of(number as usize % SLOTS, number + 1);
                let acquiring = scheduler.acquire(statement(tenant));
                let Ok(slot) = timeout(Duration::from_millis(round % 4), acquiring).await else {
                    continue;
                };
                let slot = slot.unwrap();
                let alone = holders[slot].try_lock().expect("two have the same slot");
                drop(alone);
                yield_now().await;
                scheduler.release(slot);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    for slot in 0..SLOTS {
        acquired(&scheduler, statement(tenant_of(slot, 99)));
    }
}

/// A request that is waiting when this returns.
async fn waiting(
    scheduler: &Arc<Scheduler>,
    request: Request<'static>,
) -> tokio::task::JoinHandle<usize> {
    let scheduler = Arc::clone(scheduler);
    let task = tokio::spawn(async move { scheduler.acquire(request).await.unwrap() });
    yield_now().await;
    task
}

#[tokio::test]
async fn a_slot_goes_to_the_tenant_that_holds_the_fewest() {
    let scheduler = scheduler(Duration::from_secs(5));
    let [greedy, other] = [tenant_of(0, 1), tenant_of(1, 2)];
    let held: Vec<_> = (0..SLOTS).map(|_| acquired(&scheduler, long(greedy))).collect();
    let mut more = Vec::new();
    for _ in 0..20 {
        more.push(waiting(&scheduler, long(greedy)).await);
    }
    sleep(LONG_WAIT).await;
    let first = waiting(&scheduler, statement(other)).await;
    let second = waiting(&scheduler, statement(other)).await;
    // Independent of how long the others have waited, and of the slot.
    scheduler.release(held[0]);
    assert_eq!(first.await.unwrap(), held[0]);
    scheduler.release(held[1]);
    assert_eq!(second.await.unwrap(), held[1]);
    assert!(more.iter().all(|greedy| !greedy.is_finished()));
    scheduler.release(held[0]);
    assert_eq!(more.remove(0).await.unwrap(), held[0]);
}

#[tokio::test]
async fn a_tenant_with_its_share_waits_while_slots_are_free() {
    let shares = Shares { connections: 2, reserved: 0, waiting: 100 };
    let scheduler = scheduler_with(shares, Duration::from_millis(50));
    let [greedy, other] = [tenant_of(0, 1), tenant_of(1, 2)];
    let held = [acquired(&scheduler, long(greedy)), acquired(&scheduler, long(greedy))];
    let next = waiting(&scheduler, long(greedy)).await;
    acquired(&scheduler, long(other));
    scheduler.release(held[1]);
    assert_eq!(next.await.unwrap(), held[1]);
    let late = scheduler.acquire(long(greedy)).await.unwrap_err();
    assert!(matches!(late, DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)));
}

#[tokio::test]
async fn the_last_slots_are_reserved_for_tenants_that_hold_none() {
    let shares = Shares { connections: 3, reserved: 2, waiting: 100 };
    let scheduler = scheduler_with(shares, Duration::from_secs(5));
    let tenants: Vec<_> = (0..SLOTS).map(|slot| tenant_of(slot, slot as u64 + 1)).collect();
    let mut held: Vec<_> = (0..2).map(|_| acquired(&scheduler, long(tenants[0]))).collect();
    let more = waiting(&scheduler, long(tenants[0])).await;
    // Several slow tenants leave slots to the others.
    held.push(acquired(&scheduler, long(tenants[1])));
    let more_of_other = waiting(&scheduler, long(tenants[1])).await;
    let last = acquired(&scheduler, long(tenants[2]));
    scheduler.release(last);
    assert!(!more.is_finished() && !more_of_other.is_finished());
    // Two are free: a waiting tenant would leave one.
    for slot in held {
        scheduler.release(slot);
    }
    more.await.unwrap();
    more_of_other.await.unwrap();
}

#[tokio::test]
async fn only_a_tenant_with_too_many_waiting_statements_is_refused() {
    let scheduler = scheduler_with(Shares { waiting: 3, ..ALL }, Duration::from_secs(5));
    let [greedy, other] = [tenant_of(0, 1), tenant_of(1, 2)];
    let held: Vec<_> = (0..SLOTS).map(|_| acquired(&scheduler, long(greedy))).collect();
    let mut served = Vec::new();
    for _ in 0..3 {
        served.push(waiting(&scheduler, statement(greedy)).await);
    }
    let refused = scheduler.acquire(statement(greedy)).now_or_never().unwrap().unwrap_err();
    let busy = crate::Busy::find(&refused).unwrap();
    assert_eq!((&busy.slug, busy.waiting), (slug(), 3));
    served.push(waiting(&scheduler, statement(other)).await);
    // Queries of the registry are never refused.
    let registry = Request {
        owner: Owner::Registry,
        usage: Usage::Statement,
        tenant: None,
        slug: None,
        limits: NONE,
    };
    for _ in 0..10 {
        served.push(waiting(&scheduler, registry).await);
    }
    held.into_iter().for_each(|slot| scheduler.release(slot));
    let mut served: FuturesUnordered<_> = served.into_iter().collect();
    while let Some(slot) = served.next().await {
        scheduler.release(slot.unwrap());
    }
    acquired(&scheduler, statement(greedy));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_cancelled_at_any_moment_leave_no_slot_taken() {
    let shares = Shares { connections: 3, reserved: 1, waiting: 50 };
    let scheduler = scheduler_with(shares, Duration::from_secs(20));
    let tasks = (0..60_u64).map(|number| {
        let scheduler = Arc::clone(&scheduler);
        tokio::spawn(async move {
            for round in 0..200_u64 {
                let random = (number * 200 + round).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                // One tenant has half of all requests.
                let tenant = if random % 2 == 0 { 0 } else { random % 7 };
                let request = statement(tenant_of(tenant as usize % SLOTS, tenant + 1));
                let moment = Duration::from_micros(random % 1500);
                let Ok(slot) = timeout(moment, scheduler.acquire(request)).await else { continue };
                let Ok(slot) = slot else { continue };
                sleep(Duration::from_micros(random % 300)).await;
                scheduler.release(slot);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let mut state = scheduler.state();
    assert!(state.is_idle());
    state.close();
}

#[tokio::test]
async fn limits_of_a_tenant_apply_to_its_next_request() {
    let shares = Shares { connections: 2, reserved: 0, waiting: 100 };
    let scheduler = scheduler_with(shares, Duration::from_secs(5));
    let limits = |connections, waiting| Limits {
        max_connections: std::num::NonZeroU32::new(connections),
        max_waiting: waiting,
    };
    let request = |limits| Request { limits, ..long(tenant_of(0, 1)) };
    let few = request(limits(1, Some(1)));
    let first = acquired(&scheduler, few);
    let second = waiting(&scheduler, few).await;
    assert!(scheduler.acquire(few).now_or_never().unwrap().is_err(), "only one may wait");
    // More than the share, also for requests that are waiting.
    let many = request(limits(3, None));
    let third = acquired(&scheduler, many);
    let second = second.await.unwrap();
    let fourth = waiting(&scheduler, many).await;
    scheduler.release(first);
    assert_eq!(fourth.await.unwrap(), first);
    // Fewer again: released slots are not handed to it while it holds too many.
    let fifth = waiting(&scheduler, few).await;
    scheduler.release(second);
    scheduler.release(third);
    yield_now().await;
    assert!(!fifth.is_finished());
    scheduler.release(first);
    fifth.await.unwrap();
}
