//! The plan in force and its lease.
//!
//! A contact is a question that the control plane answered, and counts from when it was asked: an answer that was held
//! up on its way grants no more than the plane knows of. The lease belongs to the plan that was confirmed, so a call
//! that began under the plan before finds no lease that was granted to its successor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwapOption, Guard};

use super::{Plan, PlanError, unseal};

/// No contact yet, or none that counts.
const NO_CONTACT: u64 = 0;

/// A plan in force and the time of the last contact that confirmed it.
#[derive(Debug)]
pub struct InForce {
    /// The plan.
    pub plan: Plan,
    /// Of the caller's monotonic clock, at least 1; [`NO_CONTACT`] grants no lease.
    contact_ns: AtomicU64,
}

impl InForce {
    /// Nanoseconds since the last contact; `None` without one that counts.
    pub fn age_ns(&self, now_ns: u64) -> Option<u64> {
        match self.contact_ns.load(Ordering::Acquire) {
            NO_CONTACT => None,
            contact_ns => Some(now_ns.saturating_sub(contact_ns)),
        }
    }

    /// Whether treatment may be served: the last contact is no longer ago than the lease.
    pub fn holds_lease(&self, now_ns: u64) -> bool {
        self.age_ns(now_ns).is_some_and(|age_ns| age_ns <= self.plan.lease_ns())
    }
}

/// The plan in force. Reading never waits; changes take turns.
#[derive(Debug, Default)]
pub struct PlanCell {
    in_force: ArcSwapOption<InForce>,
    /// Held by whoever changes the plan or its lease. Contacts up to the time inside grant nothing.
    revoked_ns: Mutex<u64>,
}

impl PlanCell {
    /// Swaps a sealed plan in, with a lease that runs from `contact_ns`, and returns the revision in force.
    ///
    /// The plan in force, published again, changes nothing but the lease. An error changes nothing.
    pub fn publish(&self, sealed: &[u8], contact_ns: u64) -> Result<u64, PlanError> {
        let plan = Plan::decode(unseal(sealed)?)?;
        let revoked_ns = self.revoked_ns.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(plan, granted(contact_ns, *revoked_ns))
    }

    /// Swaps a sealed plan in that the control plane has not confirmed: it assigns users and grants no lease.
    ///
    /// The plan in force, restored, changes nothing. An error changes nothing.
    pub fn restore(&self, sealed: &[u8]) -> Result<u64, PlanError> {
        let plan = Plan::decode(unseal(sealed)?)?;
        let _revoked_ns = self.revoked_ns.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(plan, NO_CONTACT)
    }

    /// Called with the lock held.
    fn put(&self, plan: Plan, contact_ns: u64) -> Result<u64, PlanError> {
        let revision = plan.revision;
        match self.load().as_deref() {
            Some(current) if current.plan.revision == revision && current.plan.checksum == plan.checksum => {
                current.contact_ns.fetch_max(contact_ns, Ordering::AcqRel);
            }
            Some(current) if current.plan.revision >= revision => {
                return Err(PlanError::Stale { found: revision, in_force: current.plan.revision });
            }
            _ => self.in_force.store(Some(Arc::new(InForce { plan, contact_ns: contact_ns.into() }))),
        }
        Ok(revision)
    }

    /// The control plane confirmed a revision, by an answer to what it was asked at `contact_ns`. Returns whether that
    /// counts: not for another revision than the one in force, nor for a question from before a revocation.
    pub fn renew(&self, revision: u64, contact_ns: u64) -> bool {
        let revoked_ns = self.revoked_ns.lock().unwrap_or_else(PoisonError::into_inner);
        let contact_ns = granted(contact_ns, *revoked_ns);
        match self.load().as_deref() {
            Some(current) if current.plan.revision == revision && contact_ns != NO_CONTACT => {
                // An earlier contact than the last takes nothing away.
                current.contact_ns.fetch_max(contact_ns, Ordering::AcqRel);
                true
            }
            _ => false,
        }
    }

    /// Ends the lease. Only a contact that begins after `now_ns` grants another: an answer that is on its way by now
    /// comes to nothing.
    pub fn revoke(&self, now_ns: u64) {
        let mut revoked_ns = self.revoked_ns.lock().unwrap_or_else(PoisonError::into_inner);
        *revoked_ns = (*revoked_ns).max(now_ns);
        if let Some(current) = self.load().as_deref() {
            current.contact_ns.store(NO_CONTACT, Ordering::Release);
        }
    }

    /// The plan in force; `None` before the first.
    pub fn load(&self) -> Guard<Option<Arc<InForce>>> {
        self.in_force.load()
    }

    /// Revision of the plan in force, 0 before the first.
    pub fn revision(&self) -> u64 {
        self.load().as_ref().map_or(0, |current| current.plan.revision)
    }

    /// Nanoseconds since the last contact that confirmed the plan in force; `None` without one that counts.
    pub fn age_ns(&self, now_ns: u64) -> Option<u64> {
        self.load().as_ref().and_then(|current| current.age_ns(now_ns))
    }
}

/// What a contact is worth: its time, unless it was made before the lease was last revoked.
fn granted(contact_ns: u64, revoked_ns: u64) -> u64 {
    // A clock may start at zero, which here means none.
    let contact_ns = contact_ns.max(1);
    if contact_ns > revoked_ns { contact_ns } else { NO_CONTACT }
}
