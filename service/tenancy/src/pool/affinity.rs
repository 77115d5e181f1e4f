//! The connection that a tenant prefers, by rendezvous hashing.

use tenantry_registry::TenantId;

/// The key of shared tables, which prefer connections like one tenant. No id has it.
pub(super) const SHARED: u64 = 0;

/// The bits of an id in which tenants differ.
pub(super) fn affinity_key(tenant: TenantId) -> u64 {
    let (high, low) = tenant.as_uuid().as_u64_pair();
    high ^ low
}

/// How much a tenant prefers a slot. Mixed as in SplitMix64 (Steele, Lea and Flood 2014).
pub(super) fn rendezvous_score(tenant: u64, slot: usize) -> u64 {
    let mut mixed = tenant ^ (slot as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(tenant: u64, slots: usize) -> usize {
        (0..slots).max_by_key(|slot| rendezvous_score(tenant, *slot)).unwrap()
    }

    #[test]
    fn tenants_are_spread_evenly_and_few_move_when_a_slot_is_added() {
        let tenants: Vec<u64> = (0..10_000).map(|_| affinity_key(TenantId::generate())).collect();
        let mut counts = [0; 10];
        tenants.iter().for_each(|tenant| counts[preferred(*tenant, 10)] += 1);
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        let moved =
            tenants.iter().filter(|tenant| preferred(**tenant, 10) != preferred(**tenant, 11));
        let moved = moved.count();
        assert!((700..1150).contains(&moved), "{moved} of 10,000 moved");
    }

    #[test]
    fn tenants_with_the_same_preferred_slot_differ_in_their_second_choice() {
        let tenants = (0..1000).map(|_| affinity_key(TenantId::generate()));
        let of_slot_0 = tenants.filter(|tenant| preferred(*tenant, 4) == 0);
        let mut counts = [0; 4];
        for tenant in of_slot_0 {
            counts[(1..4).max_by_key(|slot| rendezvous_score(tenant, *slot)).unwrap()] += 1;
        }
        assert!(counts[1..].iter().all(|count| *count > 40), "{counts:?}");
    }
}
