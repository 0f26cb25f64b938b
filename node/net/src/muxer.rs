//! A connection that can always be closed.
//!
//! An orderly close first flushes what is queued. A peer that has stopped
//! reading never lets that finish, and its connection would take a place for
//! ever; so the order is kept for a moment only.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use tokio::time::{Sleep, sleep};

/// How long an orderly close may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Streams over one connection whose close is bounded in time.
pub(crate) struct ClosingMuxer {
    streams: StreamMuxerBox,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl ClosingMuxer {
    pub(crate) fn new(streams: StreamMuxerBox) -> Self {
        Self { streams, deadline: None }
    }
}

impl StreamMuxer for ClosingMuxer {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        Pin::new(&mut self.streams).poll_inbound(cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        Pin::new(&mut self.streams).poll_outbound(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.streams).poll(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(closed) = Pin::new(&mut self.streams).poll_close(cx) {
            return Poll::Ready(closed);
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(CLOSE_TIMEOUT)));
        // Whoever closes drops this next, and with it the socket.
        deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}
