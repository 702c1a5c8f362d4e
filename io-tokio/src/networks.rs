//! A list of networks in CIDR notation, such as `10.0.0.0/8, fd00::/8`.
//!
//! The extension dials whatever address an invoke payload names. Whoever may invoke the function
//! could otherwise turn it into a way into any network it can reach, so it dials only addresses in
//! such a list.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// A set of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks {
    allowed: Vec<Network>,
    /// Without those where metadata services are.
    no_metadata: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    base: IpAddr,
    prefix_bits: u8,
}

impl Networks {
    /// The ranges set aside for private use: RFC 1918, shared address space (100.64.0.0/10) and
    /// unique local IPv6.
    #[must_use]
    pub fn private() -> Self {
        Self::of(vec![
            Network { base: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), prefix_bits: 8 },
            Network { base: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), prefix_bits: 12 },
            Network { base: IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), prefix_bits: 16 },
            Network { base: IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), prefix_bits: 10 },
            Network {
                base: IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)),
                prefix_bits: 7,
            },
        ])
    }

    /// No address at all.
    #[must_use]
    pub const fn none() -> Self {
        Self::of(Vec::new())
    }

    const fn of(allowed: Vec<Network>) -> Self {
        Self { allowed, no_metadata: false }
    }

    /// The same networks, however large, without link-local addresses and `fd00:ec2::/32`: there
    /// are the services that hand out credentials, and no router.
    #[must_use]
    pub fn but_no_metadata(self) -> Self {
        Self { no_metadata: true, ..self }
    }

    /// Every address there is.
    #[must_use]
    pub fn any() -> Self {
        Self::of(vec![
            Network { base: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix_bits: 0 },
            Network { base: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix_bits: 0 },
        ])
    }

    /// The same networks and this machine itself.
    #[must_use]
    pub fn and_loopback(mut self) -> Self {
        self.allowed
            .push(Network { base: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix_bits: 8 });
        self.allowed.push(Network { base: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix_bits: 128 });
        self
    }

    /// Whether `address` lies in one of the networks. An IPv4 address written as IPv6 counts as
    /// IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let barred = self.no_metadata && METADATA.iter().any(|it| it.contains(address));
        !barred && self.allowed.iter().any(|network| network.contains(address))
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix_bits)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= u32::from(self.prefix_bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// Why a list of networks cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a network; write an address and a prefix length, such as 10.0.0.0/8")]
pub struct NetworksError(String);

impl FromStr for Networks {
    type Err = NetworksError;

    /// Reads networks separated by commas; an address without a length is that one address.
    fn from_str(text: &str) -> Result<Self, NetworksError> {
        text.split(',').map(|part| network(part.trim())).collect::<Result<_, _>>().map(Self::of)
    }
}

fn network(text: &str) -> Result<Network, NetworksError> {
    let wrong = || NetworksError(text.to_owned());
    let (base, prefix_bits) = match text.split_once('/') {
        Some((base, prefix)) => (base, Some(prefix.parse().map_err(|_| wrong())?)),
        None => (text, None),
    };
    let base: IpAddr = base.parse().map_err(|_| wrong())?;
    let prefix_bits_max = if base.is_ipv4() { 32 } else { 128 };
    let prefix_bits: u8 = prefix_bits.unwrap_or(prefix_bits_max);
    if prefix_bits > prefix_bits_max {
        return Err(wrong());
    }
    // As addresses are compared as IPv4, a network that stayed IPv6 would contain none of its own.
    if base.is_ipv6()
        && let base @ IpAddr::V4(_) = base.to_canonical()
    {
        let prefix_bits = prefix_bits.checked_sub(MAPPED_BITS).ok_or_else(wrong)?;
        return Ok(Network { base, prefix_bits });
    }
    Ok(Network { base, prefix_bits })
}

/// Where credentials are handed out to whoever asks.
const METADATA: [Network; 3] = [
    Network { base: IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), prefix_bits: 16 },
    Network { base: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), prefix_bits: 10 },
    Network { base: IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0)), prefix_bits: 32 },
];

/// What stands before an IPv4 address that is written as IPv6.
const MAPPED_BITS: u8 = 96;

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Network { base, prefix_bits }) in self.allowed.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{base}/{prefix_bits}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_networks_contain_neither_the_internet_nor_metadata_services() {
        let private = Networks::private();
        for inside in ["10.1.2.3", "172.31.255.255", "192.168.0.1", "fd12::1", "::ffff:10.0.0.1"] {
            assert!(private.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["172.32.0.1", "8.8.8.8", "169.254.169.254", "127.0.0.1", "fe80::1", "::1"] {
            assert!(!private.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(private.and_loopback().contains("127.9.9.9".parse().unwrap()));
    }

    #[test]
    fn metadata_services_can_be_left_out_of_whatever_is_allowed() {
        for networks in [Networks::any(), Networks::private(), "fd00:ec2::254".parse().unwrap()] {
            let networks = networks.but_no_metadata();
            for address in [
                "169.254.169.254",
                "169.254.170.2",
                "::ffff:169.254.169.254",
                "fe80::1",
                "febf::1",
                "fd00:ec2::254",
            ] {
                assert!(!networks.contains(address.parse().unwrap()), "{address} in {networks}");
            }
        }
        assert!(Networks::private().but_no_metadata().contains("fd12::1".parse().unwrap()));
        assert!(Networks::any().contains("169.254.100.1".parse().unwrap()));
    }

    #[test]
    fn a_list_is_read_and_printed() {
        let list: Networks = "10.0.0.0/8, ::1, 0.0.0.0/0".parse().unwrap();
        assert_eq!(list.to_string(), "10.0.0.0/8, ::1/128, 0.0.0.0/0");
        assert!(list.contains("9.9.9.9".parse().unwrap()));
    }

    #[test]
    fn an_ipv4_network_may_be_written_as_ipv6() {
        let list: Networks = "::ffff:10.0.0.0/104, ::ffff:1.2.3.4".parse().unwrap();
        assert_eq!(list.to_string(), "10.0.0.0/8, 1.2.3.4/32");
        assert!(list.contains("10.9.9.9".parse().unwrap()));
        assert!(list.contains("::ffff:1.2.3.4".parse().unwrap()));
    }

    #[test]
    fn a_wrong_network_is_named() {
        for wrong in
            ["", "::ffff:10.0.0.0/95", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/x", "10.0.0.0/8;"]
        {
            let error = wrong.parse::<Networks>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{wrong}`")), "{error}");
        }
    }
}
