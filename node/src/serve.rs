//! Chunks for those who have a right to them (SYM-27).

use crate::context::Context;
use std::sync::Arc;
use symbolon_net::Responder;
use symbolon_primitives::ContentRef;
use symbolon_wire::{Chunk, MAX_CHUNKS, MAX_RESPONSE, Refusal, RefusalCode, Response, encode};

/// Answers a request; a peer that is gone misses it.
pub(crate) fn answer(reply: Responder, response: &Response) {
    match encode(response, MAX_RESPONSE) {
        Ok(bytes) => {
            if let Err(error) = reply.send(bytes) {
                tracing::debug!(%error, "an answer was not heard");
            }
        }
        Err(error) => tracing::error!(%error, "an answer of our own is too long"),
    }
}

/// Refuses a request with a code to act on and words to show.
pub(crate) fn refuse(reply: Responder, code: RefusalCode, reason: impl Into<String>) {
    let reason: String = reason.into();
    tracing::debug!(?code, reason, "refused a request");
    answer(reply, &refusal(code, reason));
}

/// The refusal as a value.
pub(crate) fn refusal(code: RefusalCode, reason: impl Into<String>) -> Response {
    Response::Refused(Refusal { code, reason: reason.into() })
}

/// Serves chunks of a tree whose right was checked, in the background.
pub(crate) fn chunks(context: &Arc<Context>, root: ContentRef, addresses: Vec<[u8; 32]>, reply: Responder) {
    if addresses.is_empty() || addresses.len() > MAX_CHUNKS {
        return refuse(reply, RefusalCode::Never, format!("between 1 and {MAX_CHUNKS} chunks at once"));
    }
    let context = Arc::clone(context);
    tokio::task::spawn_blocking(move || {
        let read = addresses.into_iter().map(|address| {
            context.content.chunk(root, ContentRef::from_bytes(address)).map(|stored| stored.map(Chunk))
        });
        match read.collect::<std::io::Result<Option<Vec<Chunk>>>>() {
            Ok(Some(chunks)) => answer(reply, &Response::Chunks(chunks)),
            Ok(None) => refuse(reply, RefusalCode::Never, "the tree has no such chunk"),
            Err(error) => refuse(reply, RefusalCode::Unknown, format!("content is not here: {error}")),
        }
    });
}
