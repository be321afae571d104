//! The line between the parts of a report (RFC 2046 §5.1.1).

use data_encoding::BASE32_NOPAD;
use memchr::memmem;

/// Octets of a boundary at most (RFC 2046 §5.1.1).
const BOUNDARY_MAX: usize = 70;

/// A boundary that no line of `parts` begins with.
///
/// 128 random bits do not occur in what was written before they were drawn; should the octets not
/// be random, the boundary is varied until it occurs nowhere.
pub(super) fn choose(random: &[u8; 16], parts: &[&[u8]]) -> String {
    // An equals sign and an underscore: neither base 64 nor quoted-printable has them in a row.
    let stem = format!("report=_{}", BASE32_NOPAD.encode(random));
    let mut boundary = stem.clone();
    let mut variant = 0_u64;
    while parts
        .iter()
        .any(|part| memmem::find(part, boundary.as_bytes()).is_some())
    {
        variant += 1;
        boundary = format!("{stem}_{variant}");
    }
    debug_assert!(boundary.len() <= BOUNDARY_MAX);
    boundary
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S21.
    #[test]
    fn a_boundary_occurs_in_no_part() {
        let first = choose(&[7; 16], &[]);
        let second = choose(&[7; 16], &[b"x", first.as_bytes()]);
        assert_ne!(first, second);
        let both = [first.as_bytes(), second.as_bytes()].concat();
        let third = choose(&[7; 16], &[&both]);
        assert!(memmem::find(&both, third.as_bytes()).is_none());
        assert!(third.len() <= BOUNDARY_MAX);
    }
}
