//! Keccak-256 of many short inputs side by side.
//!
//! A chunk's tree is 127 hashes of 64 bytes, and those of one level do not depend
//! on each other. So the states of several lie word by word in one vector register,
//! and one permutation serves them all: eight lanes with AVX-512, four with AVX2,
//! two with SSE2 and NEON, one elsewhere. What a machine has is asked at run time;
//! every width gives the same hashes.

use fearless_simd::{Level, Simd, SimdBase, dispatch, u64x2, u64x4, u64x8};
use std::array::from_fn;
use std::ops::{BitAnd, BitOr, BitXor, Not, Shl, Shr};
use std::sync::OnceLock;

/// A Keccak-256 hash.
pub(crate) type Hash = [u8; 32];

/// Bytes of one word of the state.
const WORD: usize = 8;

/// Words that one block takes in (the rate of Keccak-256, 136 bytes).
const RATE: usize = 17;

/// Vectors of the processor to hash with. Every choice gives the same hashes; one
/// that is not [`Lanes::best`] is for tests and measurements.
#[derive(Debug, Clone, Copy)]
pub struct Lanes(Option<Level>);

impl Lanes {
    /// One hash at a time, in ordinary registers.
    pub const ONE: Self = Self(None);

    /// The widest that this machine has.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Lanes> = OnceLock::new();
        *BEST.get_or_init(|| Self(Some(Level::new())))
    }

    /// Everything that this machine has, the narrowest first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let best = Level::new();
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        let narrower = [best.as_sse2().map(Level::Sse2), best.as_avx2().map(Level::Avx2)];
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
        let narrower: [Option<Level>; 0] = [];
        let mut all = vec![Self::ONE];
        for lanes in narrower.into_iter().flatten().chain([best]).map(|level| Self(Some(level))) {
            if all.last().is_some_and(|last| last.count() < lanes.count()) {
                all.push(lanes);
            }
        }
        all
    }

    /// How many hashes one permutation serves.
    #[must_use]
    pub fn count(self) -> usize {
        fn width<S: Simd>(_: S) -> usize {
            S::u64s::LEN
        }
        self.0.map_or(1, |level| dispatch!(level, simd => width(simd)))
    }

    /// The hash of each input, as far as there is room for it. `LEN` is a multiple
    /// of 8 and at most 128.
    pub(crate) fn hash<const LEN: usize>(self, inputs: &[[u8; LEN]], hashes: &mut [Hash]) {
        match self.0 {
            Some(level) => dispatch!(level, simd => simd.vectorize(
                #[inline(always)]
                || vectors(simd, inputs, hashes),
            )),
            None => one_by_one(inputs, hashes),
        }
    }
}

/// Keccak-256 of one input; `LEN` as in [`Lanes::hash`].
pub(crate) fn hash_one<const LEN: usize>(input: [u8; LEN]) -> Hash {
    let mut hash = [Hash::default()];
    one_by_one(&[input], &mut hash);
    let [hash] = hash;
    hash
}

fn one_by_one<const LEN: usize>(inputs: &[[u8; LEN]], hashes: &mut [Hash]) {
    for (input, hash) in inputs.iter().zip(hashes) {
        side_by_side([input], [hash], |[word]| word, |word| [word]);
    }
}

#[inline(always)]
fn vectors<S: Simd, const LEN: usize>(simd: S, inputs: &[[u8; LEN]], hashes: &mut [Hash]) {
    match S::u64s::LEN {
        8 => groups::<S, u64x8<S>, 8, LEN>(simd, inputs, hashes),
        4 => groups::<S, u64x4<S>, 4, LEN>(simd, inputs, hashes),
        _ => groups::<S, u64x2<S>, 2, LEN>(simd, inputs, hashes),
    }
}

#[inline(always)]
fn groups<S, V, const N: usize, const LEN: usize>(simd: S, inputs: &[[u8; LEN]], hashes: &mut [Hash])
where
    S: Simd,
    V: Word + SimdBase<S, Element = u64>,
{
    let (full, rest) = inputs.as_chunks::<N>();
    let (full_hashes, rest_hashes) = hashes.split_at_mut(hashes.len().min(full.as_flattened().len()));
    for (inputs, hashes) in full.iter().zip(full_hashes.as_chunks_mut::<N>().0) {
        group::<S, V, N, LEN>(simd, inputs, hashes);
    }
    match rest.len() {
        0 => {}
        1 => one_by_one(rest, rest_hashes),
        2..=4 if N > 4 => padded::<S, u64x4<S>, 4, LEN>(simd, rest, rest_hashes),
        _ => padded::<S, V, N, LEN>(simd, rest, rest_hashes),
    }
}

/// Fewer inputs than lanes: the other lanes run empty.
#[inline(always)]
fn padded<S, V, const N: usize, const LEN: usize>(simd: S, inputs: &[[u8; LEN]], hashes: &mut [Hash])
where
    S: Simd,
    V: Word + SimdBase<S, Element = u64>,
{
    let mut all = [[0; LEN]; N];
    let mut all_hashes = [Hash::default(); N];
    for (to, from) in all.iter_mut().zip(inputs) {
        *to = *from;
    }
    group::<S, V, N, LEN>(simd, &all, &mut all_hashes);
    for (to, from) in hashes.iter_mut().zip(all_hashes).take(inputs.len()) {
        *to = from;
    }
}

#[inline(always)]
fn group<S, V, const N: usize, const LEN: usize>(simd: S, inputs: &[[u8; LEN]; N], hashes: &mut [Hash; N])
where
    S: Simd,
    V: Word + SimdBase<S, Element = u64>,
{
    side_by_side(
        inputs.each_ref(),
        hashes.each_mut(),
        #[inline(always)]
        |words| V::from_slice(simd, &words),
        #[inline(always)]
        |vector| {
            let mut words = [0; N];
            vector.store_slice(&mut words);
            words
        },
    );
}

/// Takes `N` inputs into one state of `N` lanes, permutes, and takes the hashes out.
#[inline(always)]
fn side_by_side<W: Word, const N: usize, const LEN: usize>(
    inputs: [&[u8; LEN]; N],
    hashes: [&mut Hash; N],
    join: impl Fn([u64; N]) -> W,
    part: impl Fn(W) -> [u64; N],
) {
    const { assert!(LEN.is_multiple_of(WORD) && LEN < RATE * WORD - WORD) };
    let mut state: [W; 25] = from_fn(
        #[inline(always)]
        |at| {
            join(from_fn(
                #[inline(always)]
                |lane| {
                    let words = inputs.get(lane).map_or(&[][..], |input| input.as_chunks::<WORD>().0);
                    match words.get(at) {
                        Some(word) => u64::from_le_bytes(*word),
                        // Keccak's padding: a 1 after the input and a 1 at the end of the block.
                        None if at == LEN / WORD => 1,
                        None if at == RATE - 1 => 1 << 63,
                        None => 0,
                    }
                },
            ))
        },
    );
    let words = first_words(&mut state).map(part);
    for (lane, hash) in hashes.into_iter().enumerate() {
        for (to, words) in hash.as_chunks_mut::<WORD>().0.iter_mut().zip(&words) {
            *to = words.get(lane).copied().unwrap_or_default().to_le_bytes();
        }
    }
}

/// What the permutation needs of a word, or of a vector with a word of each state.
trait Word:
    Copy
    + BitXor<Output = Self>
    + BitXor<u64, Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + Not<Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
{
}

impl<W> Word for W where
    W: Copy
        + BitXor<Output = W>
        + BitXor<u64, Output = W>
        + BitAnd<Output = W>
        + BitOr<Output = W>
        + Not<Output = W>
        + Shl<u32, Output = W>
        + Shr<u32, Output = W>
{
}

/// Constants of the 24 rounds of Keccak-f\[1600\] (FIPS 202, 3.2.5), two by two.
const ROUNDS: [[u64; 2]; 12] = [
    [0x0000_0000_0000_0001, 0x0000_0000_0000_8082],
    [0x8000_0000_0000_808A, 0x8000_0000_8000_8000],
    [0x0000_0000_0000_808B, 0x0000_0000_8000_0001],
    [0x8000_0000_8000_8081, 0x8000_0000_0000_8009],
    [0x0000_0000_0000_008A, 0x0000_0000_0000_0088],
    [0x0000_0000_8000_8009, 0x0000_0000_8000_000A],
    [0x0000_0000_8000_808B, 0x8000_0000_0000_008B],
    [0x8000_0000_0000_8089, 0x8000_0000_0000_8003],
    [0x8000_0000_0000_8002, 0x8000_0000_0000_0080],
    [0x0000_0000_0000_800A, 0x8000_0000_8000_000A],
    [0x8000_0000_8000_8081, 0x8000_0000_0000_8080],
    [0x0000_0000_8000_0001, 0x8000_0000_8000_8008],
];

/// The first four words of Keccak-f\[1600\]. Most of the state is constant at first, and most of it is not asked for
/// at last: the rounds at both ends stand outside of the loop, so that the compiler sees that.
#[inline(always)]
fn first_words<W: Word>(state: &mut [W; 25]) -> [W; 4] {
    let [[even, odd], middle @ .., [last_but_one, last]] = ROUNDS;
    let mut other = *state;
    round(state, &mut other, even);
    round(&other, state, odd);
    for [even, odd] in middle {
        round(state, &mut other, even);
        round(&other, state, odd);
    }
    round(state, &mut other, last_but_one);
    round(&other, state, last);
    let [a, b, c, d, ..] = *state;
    [a, b, c, d]
}

#[inline(always)]
fn rol<W: Word, const BY: u32>(word: W) -> W {
    (word << BY) | (word >> (64 - BY))
}

/// The parity of one column.
#[inline(always)]
fn column<W: Word>(words: [W; 5]) -> W {
    let [a, b, c, d, e] = words;
    a ^ b ^ c ^ d ^ e
}

/// The step chi on one row.
#[inline(always)]
fn chi<W: Word>(row: [W; 5]) -> [W; 5] {
    let [a, b, c, d, e] = row;
    [a ^ (!b & c), b ^ (!c & d), c ^ (!d & e), d ^ (!e & a), e ^ (!a & b)]
}

/// One round, from `a` into `e`. Word (x, y) of the state is `a[x + 5 * y]`. Row by
/// row, so that few words are live at a time: there are sixteen registers or fewer.
#[inline(always)]
fn round<W: Word>(a: &[W; 25], e: &mut [W; 25], constant: u64) {
    let c0 = column([a[0], a[5], a[10], a[15], a[20]]);
    let c1 = column([a[1], a[6], a[11], a[16], a[21]]);
    let c2 = column([a[2], a[7], a[12], a[17], a[22]]);
    let c3 = column([a[3], a[8], a[13], a[18], a[23]]);
    let c4 = column([a[4], a[9], a[14], a[19], a[24]]);
    let d0 = c4 ^ rol::<W, 1>(c1);
    let d1 = c0 ^ rol::<W, 1>(c2);
    let d2 = c1 ^ rol::<W, 1>(c3);
    let d3 = c2 ^ rol::<W, 1>(c4);
    let d4 = c3 ^ rol::<W, 1>(c0);

    let b0 = a[0] ^ d0;
    let b1 = rol::<W, 44>(a[6] ^ d1);
    let b2 = rol::<W, 43>(a[12] ^ d2);
    let b3 = rol::<W, 21>(a[18] ^ d3);
    let b4 = rol::<W, 14>(a[24] ^ d4);
    [e[0], e[1], e[2], e[3], e[4]] = chi([b0, b1, b2, b3, b4]);
    e[0] = e[0] ^ constant;

    let b0 = rol::<W, 28>(a[3] ^ d3);
    let b1 = rol::<W, 20>(a[9] ^ d4);
    let b2 = rol::<W, 3>(a[10] ^ d0);
    let b3 = rol::<W, 45>(a[16] ^ d1);
    let b4 = rol::<W, 61>(a[22] ^ d2);
    [e[5], e[6], e[7], e[8], e[9]] = chi([b0, b1, b2, b3, b4]);

    let b0 = rol::<W, 1>(a[1] ^ d1);
    let b1 = rol::<W, 6>(a[7] ^ d2);
    let b2 = rol::<W, 25>(a[13] ^ d3);
    let b3 = rol::<W, 8>(a[19] ^ d4);
    let b4 = rol::<W, 18>(a[20] ^ d0);
    [e[10], e[11], e[12], e[13], e[14]] = chi([b0, b1, b2, b3, b4]);

    let b0 = rol::<W, 27>(a[4] ^ d4);
    let b1 = rol::<W, 36>(a[5] ^ d0);
    let b2 = rol::<W, 10>(a[11] ^ d1);
    let b3 = rol::<W, 15>(a[17] ^ d2);
    let b4 = rol::<W, 56>(a[23] ^ d3);
    [e[15], e[16], e[17], e[18], e[19]] = chi([b0, b1, b2, b3, b4]);

    let b0 = rol::<W, 62>(a[2] ^ d2);
    let b1 = rol::<W, 55>(a[8] ^ d3);
    let b2 = rol::<W, 39>(a[14] ^ d4);
    let b3 = rol::<W, 41>(a[15] ^ d0);
    let b4 = rol::<W, 2>(a[21] ^ d1);
    [e[20], e[21], e[22], e[23], e[24]] = chi([b0, b1, b2, b3, b4]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use super::*;
    use proptest::prelude::*;
    use symbolon_primitives::keccak256;

    fn check<const LEN: usize>(lanes: Lanes, bytes: &[u8]) {
        let inputs = bytes.as_chunks::<LEN>().0;
        let mut hashes = vec![[0; 32]; inputs.len()];
        lanes.hash(inputs, &mut hashes);
        for (i, (input, hash)) in inputs.iter().zip(&hashes).enumerate() {
            assert_eq!(*hash, keccak256(input), "input {i} of {}, {} lanes", inputs.len(), lanes.count());
            assert_eq!(*hash, hash_one(*input));
        }
    }

    #[test]
    fn sym_36_every_width_hashes_any_number_of_inputs_alike() {
        let bytes: Vec<u8> = (0..40 * 64u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let all = Lanes::all();
        assert_eq!(all[0].count(), 1);
        assert_eq!(all.last().unwrap().count(), Lanes::best().count());
        for lanes in all {
            for count in 0..=40 {
                check::<64>(lanes, &bytes[..count * 64]);
                check::<40>(lanes, &bytes[..count * 40]);
            }
            check::<8>(lanes, &bytes);
            check::<120>(lanes, &bytes);
        }
    }

    /// What no processor here may have is checked in plain code: the widths are types.
    #[test]
    fn sym_36_widths_that_this_machine_lacks_hash_alike_too() {
        let bytes: Vec<u8> = (0..8 * 64u32).map(|i| (i * 7 / 5) as u8).collect();
        let inputs = bytes.as_chunks::<64>().0;
        let expected: Vec<Hash> = inputs.iter().map(|input| keccak256(input)).collect();
        let simd = Level::baseline();
        for count in 0..=8 {
            let mut hashes = [[[0; 32]; 8]; 3];
            let [two, four, eight] = &mut hashes;
            dispatch!(simd, simd => {
                groups::<_, u64x2<_>, 2, 64>(simd, &inputs[..count], two);
                groups::<_, u64x4<_>, 4, 64>(simd, &inputs[..count], four);
                groups::<_, u64x8<_>, 8, 64>(simd, &inputs[..count], eight);
            });
            for hashes in hashes {
                assert_eq!(hashes[..count], expected[..count]);
                assert!(hashes[count..].iter().all(|hash| *hash == [0; 32]), "{count} inputs");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sym_36_random_inputs_hash_as_everywhere(bytes in prop::collection::vec(any::<u8>(), 0..64 * 33)) {
            for lanes in Lanes::all() {
                check::<64>(lanes, &bytes);
                check::<40>(lanes, &bytes);
            }
        }
    }
}
