/// How the server plans prepared statements: its setting `plan_cache_mode` (PostgreSQL manual,
/// 20.7.4). Through a pooler ([`direct_url`](super::Config::direct_url)) it is that of the role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanCacheMode {
    /// For its values five times, from then on for any values if that is not estimated to cost more.
    #[default]
    Auto,
    /// For any values, from the first time on. Saves the server the work of planning, with many
    /// tenants for nearly every statement. The plan does not know the values: it may read a whole
    /// table where one value is frequent and another rare, cannot use a partial index whose
    /// condition depends on a parameter, or exclude partitions while it is made, and expects a
    /// `LIMIT $1` to take a tenth of the rows.
    ForceGeneric,
    /// For its values each time.
    ForceCustom,
}

impl PlanCacheMode {
    pub(super) fn setting(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::ForceGeneric => "force_generic_plan",
            Self::ForceCustom => "force_custom_plan",
        }
    }
}
