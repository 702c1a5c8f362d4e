//! Who has been invoked and has not attached yet: one list for all pools of a router.
//!
//! An instance that dials back says its name and no pool. The name is looked up here, and with it
//! comes the pool that invoked it, so that nobody can serve another one. Whoever is not on the list
//! costs as much as somebody with a wrong token, wakes no pool, and leaves nothing behind.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch_model::InstanceId;

use crate::attach::{HelloClaim, Refusal};
use crate::chance::Chance;
use crate::pool::{Pool, WeakPool};
use crate::secret::Secret;

/// The list. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Invited {
    names: Arc<Mutex<HashMap<String, Invitation>>>,
    /// Stands for the token of whoever is not on the list.
    decoy: Secret,
}

/// One invoke whose instance may attach.
#[derive(Clone, Debug)]
pub(crate) struct Invitation {
    pub(crate) pool: WeakPool,
    pub(crate) instance: InstanceId,
    pub(crate) token: Secret,
    /// How many requests it was asked to run at a time.
    pub(crate) slots: u32,
}

impl Default for Invited {
    fn default() -> Self {
        Self { names: Arc::default(), decoy: Chance::System.secret() }
    }
}

impl Invited {
    pub(crate) fn add(&self, name: String, invitation: Invitation) {
        self.names().insert(name, invitation);
    }

    /// Takes a name off the list, unless it has attached.
    pub(crate) fn remove(&self, name: &str) {
        self.names().remove(name);
    }

    /// Whether somebody who attaches is who they claim to be, and which pool invoked them. A claim
    /// is accepted once.
    ///
    /// # Errors
    ///
    /// The refusal to send, which does not say what is wrong, but for a claim of more slots than
    /// were asked for.
    pub fn claim(
        &self,
        claim: &HelloClaim,
        exporter: &[u8],
    ) -> Result<(Pool, InstanceId), Refusal> {
        let known = self.names().get(&claim.instance).cloned();
        let token = known.as_ref().map_or(&self.decoy, |invitation| &invitation.token);
        // Outside the lock: it takes a while, and anybody can ask for it.
        let proved = claim.verify(token, exporter);
        let Some(Invitation { pool, instance, slots, .. }) = known.filter(|_| proved) else {
            return Err(Refusal::Unauthorized);
        };
        if u32::from(claim.slots) > slots {
            return Err(Refusal::Conflict);
        }
        // Of two at once one was first.
        self.names().remove(&claim.instance).ok_or(Refusal::Unauthorized)?;
        pool.upgrade().map(|pool| (pool, instance)).ok_or(Refusal::Unauthorized)
    }

    /// Takes a name off the list for somebody who proves nothing, on the original's wire: gives its
    /// pool, its instance and how many slots it was asked for.
    pub(crate) fn claim_by_name(&self, name: &str) -> Option<(Pool, InstanceId, u32)> {
        let Invitation { pool, instance, slots, .. } = self.names().remove(name)?;
        pool.upgrade().map(|pool| (pool, instance, slots))
    }

    /// How many are on the list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names().len()
    }

    /// Whether nobody is on the list.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names().is_empty()
    }

    /// Never held for longer than one look-up.
    fn names(&self) -> MutexGuard<'_, HashMap<String, Invitation>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
