//! `symbolon content`: names of bytes, a folder of them, and proofs that a part belongs to a name.

use crate::{
    args::ContentCommand,
    fail::{Failure, Hint},
    output::{json, line},
};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    fs::File,
    io::{IsTerminal, Read, Write},
    path::Path,
};
use symbolon_content::{FileProof, ProofError, Root, SEGMENT_SIZE, SegmentProof, Splitter};
use symbolon_node::ContentStore;
use symbolon_primitives::ContentRef;

/// The most levels of a proof read: a tree of 2^63 bytes has nine.
const MAX_LEVELS: usize = 16;
/// The most bytes of a proof read.
const MAX_PROOF_BYTES: u64 = 1 << 20;

/// Runs `symbolon content`.
pub(crate) fn run(command: &ContentCommand, data: &Path, as_json: bool) -> Result<(), Failure> {
    match command {
        ContentCommand::Ref { file } => {
            let root = reference_of(file)?;
            if as_json {
                json(&json!({ "reference": root.reference, "bytes": root.len }));
            } else {
                line(&root.reference.to_string());
            }
        }
        ContentCommand::Put { file } => {
            let mut bytes = Vec::new();
            open(file)?.read_to_end(&mut bytes).map_err(|e| unreadable(file, &e))?;
            let reference = store(data)?
                .put(&bytes)
                .map_err(|e| Failure::input(format!("cannot store {}: {e}", file.display())))?;
            if as_json {
                json(&json!({ "reference": reference, "bytes": bytes.len() }));
            } else {
                line(&reference.to_string());
            }
        }
        ContentCommand::Get { reference, out } => {
            let bytes = store(data)?.get(*reference).map_err(|e| missing(*reference, &e))?;
            write(out.as_deref(), &bytes)?;
        }
        ContentCommand::Prove { reference, offset } => {
            let store = store(data)?;
            if !store.has(*reference) {
                return Err(missing(*reference, &std::io::ErrorKind::NotFound.into()));
            }
            let proof = FileProof::new(*reference, *offset, |address| store.chunk(*reference, *address).ok().flatten())
                .map_err(|e| Failure::input(e.to_string()))?;
            json(&encode(*reference, *offset, &proof));
        }
        ContentCommand::Check { proof } => {
            let mut text = String::new();
            open(proof)?.take(MAX_PROOF_BYTES).read_to_string(&mut text).map_err(|e| unreadable(proof, &e))?;
            let (reference, offset, read) = decode(&text).ok_or_else(|| {
                Failure::input(format!("{} is no proof", proof.display())).hint("symbolon content prove makes one")
            })?;
            let (segment, len) = read
                .verify(&reference, offset)
                .map_err(|e: ProofError| Failure::work(format!("it does not hold: {e}")))?;
            let start = offset - offset % SEGMENT_SIZE as u64;
            let size = len.saturating_sub(start).min(SEGMENT_SIZE as u64);
            let shown = segment.get(..usize::try_from(size).unwrap_or(SEGMENT_SIZE)).unwrap_or(&segment);
            if as_json {
                json(&json!({ "reference": reference, "offset": start, "bytes": hex(shown), "length": len }));
            } else {
                line(&format!("bytes {start} to {} of {len} are {}", start.saturating_add(size), hex(shown)));
            }
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdin()));
    }
    Ok(Box::new(File::open(path).map_err(|e| unreadable(path, &e))?))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::input(format!("cannot read {}: {error}", path.display())).hint("name a file, or - for standard input")
}

fn missing(reference: ContentRef, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound => Failure::input(format!("{reference} is not in this data folder's content"))
            .hint("symbolon content put FILE stores it"),
        _ => Failure::input(format!("cannot read {reference}: {error}")),
    }
}

fn store(data: &Path) -> Result<ContentStore, Failure> {
    let path = data.join(symbolon_node::CONTENT_DIR);
    ContentStore::open(&path).map_err(|e| Failure::input(format!("cannot use {}: {e}", path.display())))
}

/// In pieces: a file of any length needs a few chunks of memory.
fn reference_of(path: &Path) -> Result<Root, Failure> {
    let mut input = open(path)?;
    let mut splitter = Splitter::new(|_: &symbolon_content::Chunk<'_>| -> Result<(), Infallible> { Ok(()) });
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(path, &error)),
        };
        let Ok(()) = splitter.write(buffer.get(..read).unwrap_or_default());
    }
    let Ok(root) = splitter.finish();
    Ok(root)
}

fn write(out: Option<&Path>, bytes: &[u8]) -> Result<(), Failure> {
    match out {
        Some(path) => {
            std::fs::write(path, bytes).map_err(|e| Failure::input(format!("cannot write {}: {e}", path.display())))
        }
        None => {
            let stdout = std::io::stdout();
            let shown = crate::output::guest_bytes(bytes, stdout.is_terminal());
            match stdout.lock().write_all(&shown) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    Err(Failure::input(format!("cannot write standard output: {error}")))
                }
                _ => Ok(()),
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &Value) -> Option<[u8; N]> {
    let text = text.as_str()?;
    let mut bytes = [0; N];
    if text.len() != N.checked_mul(2)? {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        let at = at.checked_mul(2)?;
        *byte = u8::from_str_radix(text.get(at..at.checked_add(2)?)?, 16).ok()?;
    }
    Some(bytes)
}

fn encode(reference: ContentRef, offset: u64, proof: &FileProof) -> Value {
    let levels: Vec<_> = proof
        .levels
        .iter()
        .map(|level| {
            let sisters: Vec<_> = level.sisters.iter().map(|sister| hex(sister)).collect();
            json!({ "span": level.span, "index": level.index, "segment": hex(&level.segment), "sisters": sisters })
        })
        .collect();
    json!({ "reference": reference, "offset": offset, "levels": levels })
}

fn decode(text: &str) -> Option<(ContentRef, u64, FileProof)> {
    let value: Value = serde_json::from_str(text).ok()?;
    let reference = value.get("reference")?.as_str()?.parse().ok()?;
    let offset = value.get("offset")?.as_u64()?;
    let levels = value.get("levels")?.as_array()?;
    if levels.len() > MAX_LEVELS {
        return None;
    }
    let levels = levels
        .iter()
        .map(|level| {
            let sisters: Vec<[u8; 32]> = level.get("sisters")?.as_array()?.iter().map(unhex).collect::<Option<_>>()?;
            Some(SegmentProof {
                span: level.get("span")?.as_u64()?,
                index: u8::try_from(level.get("index")?.as_u64()?).ok()?,
                segment: unhex(level.get("segment")?)?,
                sisters: sisters.try_into().ok()?,
            })
        })
        .collect::<Option<_>>()?;
    Some((reference, offset, FileProof { levels }))
}
