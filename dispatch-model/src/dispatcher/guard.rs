//! What stands between a failing function and the bill: when an invoke may be ordered, and how
//! many may be on their way at once.
//!
//! The number of instances that may be starting is a window, as in TCP's congestion control: small
//! until an instance has served, doubled by each that serves for the first time, halved by each
//! throttle, one after each failure. Failures in a row are also answered with waiting times that
//! double; after throttles such a wait is over when an instance leaves its room behind. Only a
//! response is a success: an app that crashes at its first request, answers none, or returns before
//! it has had one, attaches too. And where instances have crashed soon after their first response,
//! only one that lives on is.

use core::time::Duration;

use crate::prng::Prng;
use crate::time::{Time, nanos};

use super::config::{Budget, Config};
use super::input::InvokeOutcome;
use super::instances::{Counts, Instance};

/// The state of the guard of one pool.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Guard {
    window: u32,
    window_unproven: u32,
    /// Whether an instance has served since the last failure.
    proved: bool,
    failures: u32,
    lives: Lives,
    throttles: u32,
    /// Instances in a row that left by themselves before anybody had asked them for anything.
    unasked: u32,
    /// Nothing starts for nobody before then.
    unasked_not_before: Time,
    /// Whether waiting for an instance is pointless.
    open: bool,
    not_before: Time,
    /// When it last changed its mind: invokes ordered before that say nothing new.
    reacted: Option<Time>,
    invokes: Bucket,
    budget: Option<Purse>,
}

/// How long instances live once they have served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Lives {
    /// One lived on, and none has crashed soon since.
    Long,
    /// The last crashed soon, and none is known to have lived on before it: a response shows
    /// nothing.
    Short,
    /// That is not known, or one lived on and the next crashed soon.
    Unknown,
}

/// What is left of a money budget.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Purse {
    budget: Budget,
    credit: Bucket,
    /// Picodollars spent and not yet paid: beyond the credit, where instances had work to finish.
    debt: u64,
    /// All was spent, and too little has been saved since to begin again.
    spent: bool,
}

impl Guard {
    pub(crate) fn new(config: &Config, now: Time) -> Self {
        let budget = config.budget.map(|budget| {
            let pico_per_hour = budget.picodollars_per_hour();
            let credit = Bucket::full(pico_per_hour, pico_per_hour / 3_600, now);
            Purse { budget, credit, debt: 0, spent: false }
        });
        Self {
            window: config.starts_unproven_max,
            window_unproven: config.starts_unproven_max,
            proved: false,
            failures: 0,
            lives: Lives::Unknown,
            throttles: 0,
            unasked: 0,
            unasked_not_before: Time::ZERO,
            open: false,
            not_before: Time::ZERO,
            reacted: None,
            invokes: Bucket::full(
                config.invokes_burst.into(),
                config.invokes_per_second.into(),
                now,
            ),
            budget,
        }
    }

    /// How many invokes may be ordered now; `wanted` says whether somebody waits for one.
    pub(crate) fn allowance(&mut self, now: Time, counts: &Counts, wanted: bool) -> u32 {
        if now < self.not_before {
            return 0;
        }
        let tokens = self.invokes.available(now);
        if !wanted && self.unasked > 0 {
            let one = now >= self.unasked_not_before && counts.untried == 0 && tokens > 0;
            return u32::from(one);
        }
        // After a failure the next instance is on trial: until it has served or failed, or has had
        // time enough, attaching does not make room for another.
        let on_trial = self.failures > 0 && now < self.not_before + TRIAL;
        let taken = if on_trial { counts.untried } else { counts.starting };
        self.window.saturating_sub(taken).min(u32::try_from(tokens).unwrap_or(u32::MAX))
    }

    pub(crate) fn invoked(&mut self, now: Time, wanted: bool) {
        self.invokes.take(now, 1);
        if wanted && self.failures > 0 {
            // Another trial: who hangs does so for a whole lease, and attaches soon.
            self.not_before = now;
        }
        if !wanted && self.unasked > 0 {
            // Another for nobody has to wait for how this one does.
            self.unasked_not_before = now + STAY;
        }
    }

    /// An instance attached: Lambda has room, whatever the function makes of it.
    pub(crate) const fn attached(&mut self) {
        self.throttles = 0;
    }

    /// An instance gave its first response: the function works.
    pub(crate) fn served(&mut self, now: Time) {
        self.unasked = 0;
        self.open = false;
        if self.lives == Lives::Short {
            // So did those that crashed: nobody else starts before this one has lived longer.
            self.pause(now, STAY);
        } else {
            self.works();
        }
    }

    /// An instance has lived on after its first response, or left in peace.
    pub(crate) fn lasted(&mut self, now: Time) {
        if core::mem::replace(&mut self.lives, Lives::Long) == Lives::Short {
            self.works();
            // What this was waited for has come, and it may have left: others may start.
            if self.throttles == 0 {
                self.not_before = self.not_before.min(now);
            }
        }
    }

    fn works(&mut self) {
        if !self.proved {
            self.window = self.window.max(self.window_unproven);
        }
        self.window = self.window.saturating_mul(2);
        self.proved = true;
        self.failures = 0;
    }

    /// The invoke of `instance` ended, or is given up; `wanted` says whether somebody waits.
    pub(crate) fn ended(
        &mut self,
        now: Time,
        outcome: InvokeOutcome,
        instance: &Instance,
        wanted: bool,
        prng: &mut Prng,
    ) {
        let stayed = instance.attached.map(|since| is_long(since, now));
        // However long it stayed: who was asked and never answered hangs.
        let was_there = stayed == Some(true) && !instance.tried;
        if outcome == InvokeOutcome::Returned && (instance.served.is_some() || was_there) {
            if self.failures == 0 && self.throttles > 0 {
                // Lambda had no room for another; now it has again for one.
                self.not_before = self.not_before.min(now);
            }
            return;
        }
        // Many ordered at once fail at once: that is one piece of news, not many.
        if self.reacted.is_some_and(|reacted| instance.invoked <= reacted) {
            return;
        }
        self.reacted = Some(now);
        let unasked = !(instance.tried || wanted);
        if outcome == InvokeOutcome::Returned && stayed.is_some() && unasked {
            // It may have had nothing to do: what costs an invoke each time is to try again for
            // nobody, and that alone waits.
            self.unasked = self.unasked.saturating_add(1);
            let pause = backoff(FAILURE_FIRST, FAILURE_MOST, self.unasked, prng);
            self.unasked_not_before = now + pause;
            return;
        }
        match outcome {
            InvokeOutcome::Throttled { retry_after } => {
                self.window = if self.proved { (self.window / 2).max(1) } else { 1 };
                self.throttles = self.throttles.saturating_add(1);
                let pause = backoff(THROTTLE_FIRST, THROTTLE_MOST, self.throttles, prng);
                self.pause(now, pause.max(retry_after.unwrap_or_default()));
            }
            // An instance that had proved itself and dies says little about the next one.
            InvokeOutcome::Crashed | InvokeOutcome::TimedOut | InvokeOutcome::Unknown
                if instance.served.is_some_and(|since| self.is_mishap(since, now)) =>
            {
                self.failures = self.failures.saturating_add(1);
                self.pause(now, backoff(FAILURE_FIRST, FAILURE_MOST, self.failures - 1, prng));
            }
            InvokeOutcome::Crashed
            | InvokeOutcome::Forbidden
            | InvokeOutcome::Returned
            | InvokeOutcome::TimedOut
            | InvokeOutcome::Unavailable
            | InvokeOutcome::Unknown => {
                self.window = 1;
                self.proved = false;
                self.failures = self.failures.saturating_add(1);
                // Whoever attached and returned its invoke works somehow: slower, not hopeless.
                self.open |= outcome == InvokeOutcome::Forbidden
                    || (stayed.is_none() || outcome != InvokeOutcome::Returned)
                        && self.failures >= BREAKER_FAILURES;
                self.pause(now, backoff(FAILURE_FIRST, FAILURE_MOST, self.failures, prng));
            }
        }
    }

    /// Whether the function is known to fail, so that waiting for an instance is pointless.
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// Whether starts have failed or been throttled since the last that came to something.
    pub(crate) const fn starts_fail(&self) -> bool {
        self.failures > 0 || self.throttles > 0
    }

    /// When the next invoke may be ordered, if that is not now.
    pub(crate) fn closed_until(&self, now: Time) -> Option<Time> {
        (now < self.not_before).then_some(self.not_before)
    }

    /// Pays for `instances` over `span`.
    pub(crate) fn pay(&mut self, instances: u32, span: Duration) {
        if let Some(purse) = &mut self.budget {
            let pico = u128::from(purse.budget.picodollars_per_instance_second)
                * u128::from(instances)
                * u128::from(nanos(span))
                / 1_000_000_000;
            let pico = u64::try_from(pico).unwrap_or(u64::MAX);
            purse.debt = purse.debt.saturating_add(pico);
        }
    }

    /// The most instances that the budget allows: any number while there is credit, then as many
    /// as the rate pays for, until one could run on credit for a minute again.
    pub(crate) fn affordable(&mut self, now: Time) -> u32 {
        let Some(Purse { budget, credit, debt, spent }) = &mut self.budget else { return u32::MAX };
        let price = budget.picodollars_per_instance_second;
        let paid = credit.available(now).min(*debt);
        credit.take(now, paid);
        *debt -= paid;
        let left = credit.available(now);
        if left == 0 {
            *spent = true;
        } else if left >= price.saturating_mul(RESUME_S).min(credit.most) {
            *spent = false;
        }
        if *spent { budget.instances() } else { u32::MAX }
    }

    /// Takes note that an instance which served since then has died. Whether it had proved itself:
    /// it lived on, or others did and this is the first that has not.
    fn is_mishap(&mut self, served: Time, now: Time) -> bool {
        self.lives = match self.lives {
            _ if is_long(served, now) => Lives::Long,
            Lives::Long => Lives::Unknown,
            Lives::Short | Lives::Unknown => Lives::Short,
        };
        self.lives != Lives::Short
    }

    fn pause(&mut self, now: Time, span: Duration) {
        self.not_before = self.not_before.max(now + span);
    }
}

/// Whether an instance has been of use for so long that it shows something.
pub(super) fn is_long(since: Time, now: Time) -> bool {
    now.saturating_since(since) >= STAY
}

/// `first` doubled with each of `count` failures in a row up to `most`, less up to a quarter by
/// chance so that routers do not march in step. No failure, no wait.
fn backoff(first: Duration, most: Duration, count: u32, prng: &mut Prng) -> Duration {
    if count == 0 {
        return Duration::ZERO;
    }
    let doubled = first.saturating_mul(1_u32.checked_shl(count - 1).unwrap_or(u32::MAX));
    let full = nanos(doubled.min(most));
    Duration::from_nanos(full - prng.below(full / 4))
}

/// Failures in a row after which requests are refused at once when nothing serves.
const BREAKER_FAILURES: u32 = 3;
/// Waiting times after failures: 1 s, 2 s, … 60 s. With a first wave of 10 and a jitter of a
/// quarter, a function that always fails is invoked at most 30 times in ten minutes.
const FAILURE_FIRST: Duration = Duration::from_secs(1);
const FAILURE_MOST: Duration = Duration::from_secs(60);
/// How long an instance that is started after a failure is on trial: longer than a start takes.
const TRIAL: Duration = Duration::from_secs(40);
/// Waiting times after throttles: 0.2 s, 0.4 s, … 40 s. An account without any room is asked at
/// most 37 times in ten minutes.
const THROTTLE_FIRST: Duration = Duration::from_millis(200);
const THROTTLE_MOST: Duration = Duration::from_secs(40);
/// Who attaches and leaves before this without a response, unasked, has failed; and who crashes
/// before this after its first response may crash after each.
const STAY: Duration = Duration::from_secs(10);
/// Seconds of one instance that must be saved up before a spent budget counts as credit again.
const RESUME_S: u64 = 60;

/// A token bucket in whole tokens; keeps the rest of a division for the next time.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Bucket {
    tokens: u64,
    most: u64,
    per_second: u64,
    filled: Time,
}

impl Bucket {
    /// Holds `most` tokens, all there, and gains `per_second`.
    pub(crate) const fn full(most: u64, per_second: u64, now: Time) -> Self {
        Self { tokens: most, most, per_second, filled: now }
    }

    pub(crate) fn available(&mut self, now: Time) -> u64 {
        let rate = u128::from(self.per_second);
        let span = u128::from(nanos(now.saturating_since(self.filled)));
        let gained = rate * span / 1_000_000_000;
        if gained > 0 {
            // Only the time that made whole tokens is used up.
            let used = (gained * 1_000_000_000).div_ceil(rate);
            self.filled =
                self.filled + Duration::from_nanos(u64::try_from(used).unwrap_or(u64::MAX));
            let gained = u64::try_from(gained).unwrap_or(u64::MAX);
            self.tokens = self.tokens.saturating_add(gained).min(self.most);
        }
        if self.tokens == self.most {
            // What would not fit is lost, the begun part of a token too.
            self.filled = now;
        }
        self.tokens
    }

    /// Takes `count` tokens, or what there is.
    pub(crate) fn take(&mut self, now: Time, count: u64) {
        self.tokens = self.available(now).saturating_sub(count);
    }

    /// Adds `count` tokens, as far as there is room.
    pub(crate) const fn gain(&mut self, count: u64) {
        let sum = self.tokens.saturating_add(count);
        self.tokens = if sum < self.most { sum } else { self.most };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_bucket_gains_nothing_while_it_is_left_alone() {
        let mut bucket = Bucket::full(1, 1, Time::ZERO);
        bucket.take(Time::from_millis(950), 1);
        assert_eq!(bucket.available(Time::from_millis(1_000)), 0, "50 ms make no token");
        assert_eq!(bucket.available(Time::from_millis(1_950)), 1);
    }
}
