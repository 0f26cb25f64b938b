//! g-flite's two halves that run at the requestor: splitting a text into
//! chunks of words, and joining the spoken chunks into one WAV file.

use thiserror::Error;

/// Why a text cannot be split or a recording not be joined.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum SpeechError {
    /// Nothing to say.
    #[error("the text is empty")]
    Empty,
    /// Fewer words than parts.
    #[error("cannot split input of {words} words into {subtasks} subtasks")]
    TooFewWords {
        /// Words there are.
        words: usize,
        /// Parts asked for.
        subtasks: usize,
    },
    /// A part that is no WAV file, or not whole.
    #[error("part {part} is not a WAV file with samples: {why}")]
    NotWav {
        /// Which part, from 1.
        part: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Parts of different sample formats.
    #[error("part {part} has another sample format than the first")]
    FormatDiffers {
        /// Which part, from 1.
        part: usize,
    },
    /// More samples than a WAV file's 32-bit length can say.
    #[error("the joined sound is longer than a WAV file can be")]
    TooLong,
}

/// Splits at white space into `subtasks` chunks of ceil(words / subtasks)
/// words, each joined by single spaces. Fewer chunks come out when the words
/// run out first.
pub(crate) fn split_words(text: &str, subtasks: usize) -> Result<Vec<String>, SpeechError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() {
        return Err(SpeechError::Empty);
    }
    if subtasks == 0 || words.len() < subtasks {
        return Err(SpeechError::TooFewWords { words: words.len(), subtasks });
    }
    Ok(words.chunks(words.len().div_ceil(subtasks)).map(|chunk| chunk.join(" ")).collect())
}

/// Splits into at most `subtasks` chunks of about equal numbers of words whose
/// ends are ends of sentences, so that no sentence is broken in two. A text of
/// fewer sentences gives fewer chunks.
pub(crate) fn split_sentences(text: &str, subtasks: usize) -> Result<Vec<String>, SpeechError> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() {
        return Err(SpeechError::Empty);
    }
    if subtasks == 0 || words.len() < subtasks {
        return Err(SpeechError::TooFewWords { words: words.len(), subtasks });
    }
    let ends_sentence = |word: &&str| word.trim_end_matches(['"', '\'', ')', '”', '’']).ends_with(['.', '!', '?']);
    let mut chunks: Vec<Vec<&str>> = Vec::new();
    let mut chunk: Vec<&str> = Vec::new();
    let mut taken = 0_usize;
    for word in &words {
        chunk.push(word);
        taken += 1;
        // The next chunk starts at the first sentence end past this one's share.
        let share = words.len() * (chunks.len() + 1) / subtasks;
        if taken >= share && ends_sentence(word) && chunks.len() + 1 < subtasks {
            chunks.push(std::mem::take(&mut chunk));
        }
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    Ok(chunks.into_iter().map(|chunk| chunk.join(" ")).collect())
}

struct Wav<'a> {
    format: &'a [u8],
    samples: &'a [u8],
}

fn parse(part: usize, bytes: &[u8]) -> Result<Wav<'_>, SpeechError> {
    let bad = |why| SpeechError::NotWav { part, why };
    let le32 = |at: &[u8]| at.first_chunk::<4>().map(|b| u32::from_le_bytes(*b)).and_then(|n| usize::try_from(n).ok());
    if !bytes.starts_with(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        return Err(bad("no RIFF header"));
    }
    let mut rest = bytes.get(12..).unwrap_or_default();
    let mut format = None;
    while let (Some(kind), Some(length)) = (rest.first_chunk::<4>(), rest.get(4..).and_then(le32)) {
        let body = rest.get(8..).unwrap_or_default();
        match kind {
            b"fmt " => format = Some(body.get(..length).ok_or_else(|| bad("the format is cut off"))?),
            b"data" => {
                // A length of zero or beyond the end means "until the end": flite
                // writes to a pipe that way.
                let samples = match body.get(..length) {
                    Some(samples) if length > 0 => samples,
                    _ => body,
                };
                let format = format.ok_or_else(|| bad("samples before their format"))?;
                return Ok(Wav { format, samples });
            }
            _ => {}
        }
        // Chunks are padded to an even length.
        rest = body.get(length.saturating_add(length % 2)..).unwrap_or_default();
    }
    Err(bad("no samples"))
}

/// Appends the parts' samples in order under the first one's format; both
/// lengths in the header are right.
pub(crate) fn join_wavs(parts: &[Vec<u8>]) -> Result<Vec<u8>, SpeechError> {
    let mut format: Option<&[u8]> = None;
    let mut samples = Vec::new();
    for (part, bytes) in (1..).zip(parts) {
        let wav = parse(part, bytes)?;
        if *format.get_or_insert(wav.format) != wav.format {
            return Err(SpeechError::FormatDiffers { part });
        }
        samples.extend_from_slice(wav.samples);
    }
    let format = format.ok_or(SpeechError::Empty)?;
    let length = |n: usize| u32::try_from(n).map_err(|_| SpeechError::TooLong);
    let mut out = Vec::with_capacity(samples.len() + format.len() + 28);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&length(samples.len() + samples.len() % 2 + format.len() + 20)?.to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&length(format.len())?.to_le_bytes());
    out.extend_from_slice(format);
    out.extend_from_slice(b"data");
    out.extend_from_slice(&length(samples.len())?.to_le_bytes());
    out.extend_from_slice(&samples);
    if samples.len() % 2 == 1 {
        out.push(0);
    }
    Ok(out)
}

/// How long a WAV plays, in whole milliseconds: samples by sample rate, for
/// flite's own byte rate is twice what it should be.
pub(crate) fn wav_millis(bytes: &[u8]) -> Result<u64, SpeechError> {
    let wav = parse(1, bytes)?;
    let rate = wav.format.get(4..8).and_then(|b| b.first_chunk::<4>()).map(|b| u32::from_le_bytes(*b));
    let frame = wav.format.get(12..14).and_then(|b| b.first_chunk::<2>()).map(|b| u16::from_le_bytes(*b));
    match (rate, frame) {
        (Some(rate), Some(frame)) if rate > 0 && frame > 0 => {
            let frames = u64::try_from(wav.samples.len()).unwrap_or(u64::MAX) / u64::from(frame);
            Ok(frames.saturating_mul(1000) / u64::from(rate))
        }
        _ => Err(SpeechError::NotWav { part: 1, why: "no sample rate" }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn wav(samples: &[u8], rate: u32) -> Vec<u8> {
        let mut format = vec![1, 0, 1, 0];
        format.extend_from_slice(&rate.to_le_bytes());
        format.extend_from_slice(&(rate * 2).to_le_bytes());
        format.extend_from_slice(&[2, 0, 16, 0]);
        let mut out = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
        out.extend_from_slice(&16_u32.to_le_bytes());
        out.extend_from_slice(&format);
        out.extend_from_slice(b"data");
        out.extend_from_slice(&u32::try_from(samples.len()).unwrap().to_le_bytes());
        out.extend_from_slice(samples);
        out
    }

    #[test]
    fn words_split_as_g_flite_splits_them() {
        let chunks = split_words(" a b\nc  d e\tf g ", 3).unwrap();
        assert_eq!(chunks, ["a b c", "d e f", "g"]);
        assert_eq!(split_words("a b", 3), Err(SpeechError::TooFewWords { words: 2, subtasks: 3 }));
        assert_eq!(split_words("a b", 0), Err(SpeechError::TooFewWords { words: 2, subtasks: 0 }));
        assert_eq!(split_words(" \n", 1), Err(SpeechError::Empty));
        let message = SpeechError::TooFewWords { words: 2, subtasks: 3 }.to_string();
        assert_eq!(message, "cannot split input of 2 words into 3 subtasks");
        // ceil(5/4) = 2 words a chunk leaves three chunks, not four with an empty one.
        assert_eq!(split_words("a b c d e", 4).unwrap(), ["a b", "c d", "e"]);
    }

    #[test]
    fn sentences_stay_whole_and_nothing_is_lost() {
        let text = "One two. Three four five! Six? Seven eight nine ten. Eleven.";
        for parts in 1..=5 {
            let chunks = split_sentences(text, parts).unwrap();
            assert!(chunks.len() <= parts);
            assert_eq!(chunks.join(" "), text);
            assert!(chunks.iter().all(|chunk| chunk.ends_with(['.', '!', '?'])));
        }
        assert_eq!(split_sentences("no end at all", 2).unwrap(), ["no end at all"]);
    }

    #[test]
    fn samples_are_appended_in_order_and_lengths_are_right() {
        let joined = join_wavs(&[wav(&[1, 2], 8000), wav(&[3, 4, 5, 6], 8000)]).unwrap();
        assert_eq!(joined, {
            let mut one = wav(&[1, 2, 3, 4, 5, 6], 8000);
            let riff = u32::try_from(one.len() - 8).unwrap();
            one[4..8].copy_from_slice(&riff.to_le_bytes());
            one
        });
        assert_eq!(join_wavs(&[wav(&[1, 2], 8000), wav(&[3], 16000)]), Err(SpeechError::FormatDiffers { part: 2 }));
        assert!(matches!(join_wavs(&[b"RIFFxxxxWAVE".to_vec()]), Err(SpeechError::NotWav { part: 1, .. })));
        assert!(matches!(join_wavs(&[vec![0; 44]]), Err(SpeechError::NotWav { .. })));
        assert_eq!(join_wavs(&[]), Err(SpeechError::Empty));
        assert_eq!(wav_millis(&wav(&[0; 16000], 8000)), Ok(1000));
    }

    #[test]
    fn a_data_length_of_zero_means_until_the_end() {
        let mut streamed = wav(&[9, 9, 9, 9], 8000);
        streamed[40..44].fill(0);
        assert!(join_wavs(&[streamed]).unwrap().ends_with(&[4, 0, 0, 0, 9, 9, 9, 9]));
    }

    #[test]
    fn no_bytes_panic_the_parser() {
        let whole = wav(&[1, 2, 3, 4], 8000);
        for cut in 0..whole.len() {
            let _ = join_wavs(&[whole[..cut].to_vec()]);
            let mut broken = whole.clone();
            broken[cut] = 0xff;
            let _ = join_wavs(&[broken]);
        }
    }
}
