//! Names of things. Whoever sees a thing first names it: the driver names requests, the model
//! names instances. A name is a place in a table and a generation, so that looking it up costs one
//! indexed read and a name that has ended is never mistaken for its successor.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name {
            index: u32,
            generation: u32,
        }

        impl $name {
            /// The name for place `index`, taken for the `generation`th time (from 0).
            #[must_use]
            pub const fn new(index: u32, generation: u32) -> Self {
                Self { index, generation }
            }

            /// The place in its table. Drivers keep this small and dense: tables grow to fit it.
            #[must_use]
            pub const fn index(self) -> u32 {
                self.index
            }

            /// How often the place had been taken before.
            #[must_use]
            pub const fn generation(self) -> u32 {
                self.generation
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.generation == 0 {
                    write!(f, concat!($letter, "{}"), self.index)
                } else {
                    write!(f, concat!($letter, "{}.{}"), self.index, self.generation)
                }
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
    /// A client's request, named by the driver when it arrives. Printed `r7`, or `r7.2` when the
    /// place was used twice before.
    RequestId, "r"
}

id! {
    /// One Lambda invocation that is meant to serve, or serves: an instance. Named by the model
    /// when it orders the invoke. Printed `i3`.
    InstanceId, "i"
}
