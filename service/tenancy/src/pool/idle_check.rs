//! Keeping unused connections alive.

use std::{sync::Arc, time::Duration};

use super::{TenantPool, request::Request, slot_guard::SlotGuard};

/// How often unused connections are pinged, so that no statement has to, and no network device
/// drops them as idle.
const PERIOD: Duration = Duration::from_secs(30);

/// Checks after which an unused connection is closed: ten minutes.
const MAX_IDLE_TICKS: u32 = 20;

impl TenantPool {
    /// Checks idle connections until the task is aborted.
    pub(in super::super) async fn run_idle_check(self: Arc<Self>) {
        loop {
            tokio::time::sleep(PERIOD).await;
            self.check_idle().await;
        }
    }

    async fn check_idle(self: &Arc<Self>) {
        // Detects a failover for a service that only reads. A lost connection is found below.
        let _ = self.registry().write_access().await;
        for slot in 0..self.slots.len() {
            let ticks = self.slots[slot].tick();
            // Skips connections that were used since the last check.
            if ticks > 0
                && let Some(guard) = SlotGuard::try_acquire(self, slot, Request::IDLE_CHECK)
            {
                guard.check_idle(ticks >= MAX_IDLE_TICKS).await;
                self.slots[slot].set_idle_ticks(ticks + 1);
            }
        }
    }
}
