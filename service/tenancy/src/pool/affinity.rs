//! Which lane a tenant prefers.

use tenantry_registry::TenantId;

/// The part of an id by which tenants differ.
pub(super) fn fold(tenant: TenantId) -> u64 {
    let (high, low) = tenant.as_uuid().as_u64_pair();
    high ^ low
}

/// How much a tenant prefers a lane. The mixing is that of SplitMix64 (Steele, Lea and Flood 2014).
pub(super) fn score(tenant: u64, lane: usize) -> u64 {
    let mut mixed = tenant ^ (lane as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn favourite(tenant: u64, lanes: usize) -> usize {
        (0..lanes).max_by_key(|lane| score(tenant, *lane)).unwrap()
    }

    #[test]
    fn tenants_are_spread_evenly_and_few_move_when_there_is_one_lane_more() {
        let tenants: Vec<u64> = (0..10_000).map(|_| fold(TenantId::generate())).collect();
        let mut counts = [0; 10];
        tenants.iter().for_each(|tenant| counts[favourite(*tenant, 10)] += 1);
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        let moved =
            tenants.iter().filter(|tenant| favourite(**tenant, 10) != favourite(**tenant, 11));
        let moved = moved.count();
        assert!((700..1150).contains(&moved), "{moved} of 10,000 moved");
    }

    #[test]
    fn tenants_of_one_favourite_differ_in_what_they_take_next() {
        let tenants = (0..1000).map(|_| fold(TenantId::generate()));
        let of_lane_0 = tenants.filter(|tenant| favourite(*tenant, 4) == 0);
        let mut counts = [0; 4];
        for tenant in of_lane_0 {
            counts[(1..4).max_by_key(|lane| score(tenant, *lane)).unwrap()] += 1;
        }
        assert!(counts[1..].iter().all(|count| *count > 40), "{counts:?}");
    }
}
