use std::sync::Arc;

use futures_util::FutureExt;
use tokio::{task::yield_now, time::sleep};

use super::*;

const PLACES: usize = 4;

fn queue(patience: Duration) -> Arc<Queue> {
    Arc::new(Queue::new(PLACES, 1, 8, patience))
}

/// A tenant whose own lane this is.
fn tenant_of(lane: usize, number: u64) -> u64 {
    let own = |tenant: &u64| (0..PLACES).max_by_key(|lane| score(*tenant, *lane)) == Some(lane);
    (number * 1_000_000..).find(own).unwrap()
}

fn statement(tenant: u64) -> Ask {
    Ask { tenant: Some(tenant), hold: Hold::Statement }
}

fn long(tenant: u64) -> Ask {
    Ask { tenant: Some(tenant), hold: Hold::Long }
}

/// Takes a place that is to be had at once.
fn taken(queue: &Queue, ask: Ask) -> usize {
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
    taken(&queue, Ask { tenant: None, hold: Hold::Statement });
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
    let impatient = Queue::new(1, 1, 8, Duration::from_millis(5));
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
