//! Ids that need only be unlike any other: of requests, extensions and traces.

/// A random UUID (version 4), as AWS names requests.
pub(crate) fn uuid() -> String {
    let random: u128 = rand::random();
    let versioned = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{versioned:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A fresh X-Ray trace header that asks for no sampling. `epoch_seconds` dates it.
pub(crate) fn trace(epoch_seconds: u64) -> String {
    let random: u128 = rand::random();
    let parent: u64 = rand::random();
    let root = random >> 32;
    format!("Root=1-{epoch_seconds:08x}-{root:024x};Parent={parent:016x};Sampled=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_version_four() {
        let id = uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]));
    }

    #[test]
    fn traces_have_the_parts_and_lengths_of_x_ray() {
        let trace = trace(0x1234_5678);
        assert!(trace.starts_with("Root=1-12345678-"));
        assert_eq!(
            trace.len(),
            "Root=1-12345678-".len() + 24 + ";Parent=".len() + 16 + ";Sampled=0".len()
        );
    }
}
