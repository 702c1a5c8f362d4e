//! Where the names and tokens of instances come from.

use dispatch_model::Prng;
use ring::rand::{SecureRandom, SystemRandom};

use crate::hex;
use crate::secret::Secret;

/// A source of randomness.
#[derive(Clone, Debug)]
pub enum Chance {
    /// The same every time: for simulations. Whoever knows the seed can attach as any instance.
    Seeded(Prng),
    /// The operating system's.
    System,
}

impl Chance {
    /// 128 bits of chance: an instance's public name.
    pub fn name(&mut self) -> String {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        hex::encode(&bytes)
    }

    /// 256 bits that nobody else knows.
    pub(crate) fn secret(&mut self) -> Secret {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        Secret::from_bytes(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        match self {
            Self::Seeded(prng) => {
                for part in bytes.chunks_mut(8) {
                    part.copy_from_slice(&prng.next_u64().to_le_bytes()[..part.len()]);
                }
            }
            Self::System => {
                let system = SystemRandom::new();
                // Nothing secure can be done without.
                system.fill(bytes).expect("the operating system gives random bytes");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_secrets_differ_and_a_seed_repeats_them() {
        let seeded = || Chance::Seeded(Prng::new(7));
        for (mut one, mut other) in [(seeded(), seeded()), (Chance::System, Chance::System)] {
            let is_seeded = matches!(one, Chance::Seeded(_));
            assert_ne!(one.name(), one.name());
            other.name();
            other.name();
            let (a, b) = (one.secret(), other.secret());
            assert_eq!(a.as_bytes() == b.as_bytes(), is_seeded);
            assert_ne!(a.as_bytes(), one.secret().as_bytes());
        }
    }
}
