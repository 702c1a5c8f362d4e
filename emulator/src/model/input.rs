//! Everything that can happen to the service.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The thing with this number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// Its number.
            #[must_use]
            pub const fn number(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id! {
    /// An environment, numbered by the model from 1; never used again. Printed `env-3`.
    EnvironmentId, "env-"
}

id! {
    /// An invoke, numbered by the driver; never used again. Printed `v7`.
    InvokeId, "v"
}

id! {
    /// An extension, numbered by the driver within its environment. Printed `x1`.
    ExtensionId, "x"
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The function's code was replaced: environments of the old code serve what they hold, and
    /// nothing else.
    CodeUpdated,
    /// No process of a stopped or killed environment is left.
    EnvironmentEmptied {
        /// Which.
        environment: EnvironmentId,
    },
    /// The runtime answered its invoke with an error.
    ErrorPosted {
        /// Where.
        environment: EnvironmentId,
        /// Which invoke it named.
        invoke: InvokeId,
    },
    /// An extension asked for its next event.
    ExtensionNext {
        /// Where.
        environment: EnvironmentId,
        /// Which.
        extension: ExtensionId,
    },
    /// An extension made itself known. Legal while the environment initialises.
    ExtensionRegistered {
        /// Where.
        environment: EnvironmentId,
        /// Its number from now on.
        extension: ExtensionId,
        /// Whether it wants to hear of invokes.
        invoke: bool,
    },
    /// The runtime or an extension reported that it cannot initialise.
    InitErrorPosted {
        /// Where.
        environment: EnvironmentId,
    },
    /// Somebody called Invoke.
    InvokeRequested {
        /// Its number from now on.
        invoke: InvokeId,
    },
    /// An environment is wanted without an invoke, as earlier traffic would have left one. Neither
    /// the ramp nor the bill counts it.
    PrewarmRequested,
    /// A process of the environment ended by itself, or could not be started.
    ProcessExited {
        /// Where.
        environment: EnvironmentId,
    },
    /// So many environments are to be kept initialised from now on.
    ProvisionedChanged {
        /// How many.
        count: u32,
    },
    /// The runtime answered its invoke.
    ResponsePosted {
        /// Where.
        environment: EnvironmentId,
        /// Which invoke it named.
        invoke: InvokeId,
    },
    /// The runtime asked for its next invoke.
    RuntimeNext {
        /// Where.
        environment: EnvironmentId,
    },
    /// The runtime waits to be restored from a snapshot.
    RestoreNext {
        /// Where.
        environment: EnvironmentId,
    },
    /// Everything is to end: idle environments are stopped, others killed.
    ShutdownRequested,
    /// A fault to play: while on, every invoke is throttled.
    ThrottleChanged {
        /// Whether it is on.
        on: bool,
    },
}
