//! Keccak-256 with every lane in a variable: a voucher's digest and its signer's
//! address are four permutations, and the libraries' portable one takes twice as
//! long. The tests hold it against theirs.

/// The bytes that one permutation takes up.
const RATE: usize = 136;

const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// One round: theta, rho with pi, chi, iota.
#[inline]
const fn round(lanes: [u64; 25], constant: u64) -> [u64; 25] {
    let [
        a0,
        a1,
        a2,
        a3,
        a4,
        a5,
        a6,
        a7,
        a8,
        a9,
        a10,
        a11,
        a12,
        a13,
        a14,
        a15,
        a16,
        a17,
        a18,
        a19,
        a20,
        a21,
        a22,
        a23,
        a24,
    ] = lanes;
    let c0 = a0 ^ a5 ^ a10 ^ a15 ^ a20;
    let c1 = a1 ^ a6 ^ a11 ^ a16 ^ a21;
    let c2 = a2 ^ a7 ^ a12 ^ a17 ^ a22;
    let c3 = a3 ^ a8 ^ a13 ^ a18 ^ a23;
    let c4 = a4 ^ a9 ^ a14 ^ a19 ^ a24;
    let d0 = c4 ^ c1.rotate_left(1);
    let d1 = c0 ^ c2.rotate_left(1);
    let d2 = c1 ^ c3.rotate_left(1);
    let d3 = c2 ^ c4.rotate_left(1);
    let d4 = c3 ^ c0.rotate_left(1);
    let b0 = a0 ^ d0;
    let b10 = (a1 ^ d1).rotate_left(1);
    let b20 = (a2 ^ d2).rotate_left(62);
    let b5 = (a3 ^ d3).rotate_left(28);
    let b15 = (a4 ^ d4).rotate_left(27);
    let b16 = (a5 ^ d0).rotate_left(36);
    let b1 = (a6 ^ d1).rotate_left(44);
    let b11 = (a7 ^ d2).rotate_left(6);
    let b21 = (a8 ^ d3).rotate_left(55);
    let b6 = (a9 ^ d4).rotate_left(20);
    let b7 = (a10 ^ d0).rotate_left(3);
    let b17 = (a11 ^ d1).rotate_left(10);
    let b2 = (a12 ^ d2).rotate_left(43);
    let b12 = (a13 ^ d3).rotate_left(25);
    let b22 = (a14 ^ d4).rotate_left(39);
    let b23 = (a15 ^ d0).rotate_left(41);
    let b8 = (a16 ^ d1).rotate_left(45);
    let b18 = (a17 ^ d2).rotate_left(15);
    let b3 = (a18 ^ d3).rotate_left(21);
    let b13 = (a19 ^ d4).rotate_left(8);
    let b14 = (a20 ^ d0).rotate_left(18);
    let b24 = (a21 ^ d1).rotate_left(2);
    let b9 = (a22 ^ d2).rotate_left(61);
    let b19 = (a23 ^ d3).rotate_left(56);
    let b4 = (a24 ^ d4).rotate_left(14);
    [
        b0 ^ (!b1 & b2) ^ constant,
        b1 ^ (!b2 & b3),
        b2 ^ (!b3 & b4),
        b3 ^ (!b4 & b0),
        b4 ^ (!b0 & b1),
        b5 ^ (!b6 & b7),
        b6 ^ (!b7 & b8),
        b7 ^ (!b8 & b9),
        b8 ^ (!b9 & b5),
        b9 ^ (!b5 & b6),
        b10 ^ (!b11 & b12),
        b11 ^ (!b12 & b13),
        b12 ^ (!b13 & b14),
        b13 ^ (!b14 & b10),
        b14 ^ (!b10 & b11),
        b15 ^ (!b16 & b17),
        b16 ^ (!b17 & b18),
        b17 ^ (!b18 & b19),
        b18 ^ (!b19 & b15),
        b19 ^ (!b15 & b16),
        b20 ^ (!b21 & b22),
        b21 ^ (!b22 & b23),
        b22 ^ (!b23 & b24),
        b23 ^ (!b24 & b20),
        b24 ^ (!b20 & b21),
    ]
}

fn permute(lanes: [u64; 25]) -> [u64; 25] {
    ROUND_CONSTANTS.iter().fold(lanes, |lanes, constant| round(lanes, *constant))
}

fn absorb(mut lanes: [u64; 25], block: &[u8; RATE]) -> [u64; 25] {
    for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
        *lane ^= u64::from_le_bytes(*word);
    }
    permute(lanes)
}

/// Keccak-256 as Ethereum uses it (the padding before FIPS 202).
#[must_use]
pub fn keccak256(bytes: &[u8]) -> [u8; 32] {
    let (blocks, rest) = bytes.as_chunks::<RATE>();
    let lanes = blocks.iter().fold([0; 25], absorb);
    let mut last = [0; RATE];
    for (to, from) in last.iter_mut().zip(rest.iter().chain(&[1])) {
        *to = *from;
    }
    if let Some(end) = last.last_mut() {
        *end |= 0x80;
    }
    let lanes = absorb(lanes, &last);
    let mut hash = [0; 32];
    for (to, lane) in hash.as_chunks_mut::<8>().0.iter_mut().zip(lanes) {
        *to = lane.to_le_bytes();
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sym_05_every_length_around_a_block_hashes_as_the_library_does() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * RATE + 2).collect();
        for length in 0..=bytes.len() {
            let bytes = bytes.get(..length).unwrap_or_default();
            assert_eq!(keccak256(bytes), alloy_primitives::keccak256(bytes).0, "{length}");
        }
    }

    proptest! {
        #[test]
        fn sym_05_whatever_is_hashed_hashes_as_the_library_does(bytes: Vec<u8>) {
            prop_assert_eq!(keccak256(&bytes), alloy_primitives::keccak256(&bytes).0);
        }
    }
}
