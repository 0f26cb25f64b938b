//! Frames of the request protocol: a length, then as many bytes.
//!
//! A request is a big-endian `u32` and that many bytes. A response is one
//! status byte, a big-endian `u32` and that many bytes; every status but 0 has
//! the length 0. The length is judged before anything is allocated, and memory
//! is taken as bytes arrive, so a peer that announces much and sends little
//! costs little.

use std::{io, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};

use crate::{
    budget::{Budget, Reservation},
    error::Refusal,
};

/// How much is read before the next piece of memory is taken.
const FIRST_STEP: usize = 8 * 1024;

const STATUS_OK: u8 = 0;
const STATUS_BUSY: u8 = 1;
const STATUS_RATE_LIMITED: u8 = 2;
const STATUS_NO_ANSWER: u8 = 3;

/// A way to break the protocol that no honest peer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A request that announces more than the limit.
    Oversize,
    /// A request that did not arrive within the read timeout.
    Slow,
}

/// What travels as a request: ours on the way out, a peer's on the way in.
#[derive(Debug)]
pub(crate) enum WireRequest {
    /// Ours, with the longest response that we will read.
    Outgoing { bytes: Vec<u8>, max_response: usize },
    /// A peer's, with the memory that it holds.
    Incoming { bytes: Vec<u8>, reservation: Reservation },
    /// A peer's, for which there is no memory now.
    NoRoom,
    /// A peer's that breaks the protocol.
    Violation(Violation),
}

/// What travels as a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WireResponse {
    Body(Vec<u8>),
    Refused(Refusal),
}

/// A response that announces more than we read; carried inside an `io::Error`.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a response of {len} bytes, {limit} are allowed")]
pub(crate) struct ResponseTooLarge {
    pub(crate) len: usize,
    pub(crate) limit: usize,
}

/// Reads and writes the frames; one clone serves one stream.
#[derive(Clone, Debug)]
pub(crate) struct Codec {
    max_request: usize,
    max_response: usize,
    read_timeout: Duration,
    memory: Budget,
}

impl Codec {
    pub(crate) fn new(max_request: usize, max_response: usize, read_timeout: Duration, memory: Budget) -> Self {
        Self { max_request, max_response, read_timeout, memory }
    }

    async fn read_incoming<T: AsyncRead + Unpin + Send>(&self, io: &mut T) -> io::Result<WireRequest> {
        let len = read_len(io).await?;
        if len > self.max_request {
            return Ok(WireRequest::Violation(Violation::Oversize));
        }
        let mut reservation = self.memory.empty();
        Ok(match read_body(io, len, |step| reservation.grow(step)).await? {
            Some(bytes) => WireRequest::Incoming { bytes, reservation },
            None => WireRequest::NoRoom,
        })
    }
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = WireRequest;
    type Response = WireResponse;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<WireRequest>
    where
        T: AsyncRead + Unpin + Send,
    {
        match tokio::time::timeout(self.read_timeout, self.read_incoming(io)).await {
            Ok(read) => read,
            Err(_) => Ok(WireRequest::Violation(Violation::Slow)),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<WireResponse>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut status = [0_u8; 1];
        io.read_exact(&mut status).await?;
        let len = read_len(io).await?;
        let limit = match status {
            [STATUS_OK] => self.max_response,
            _ => 0,
        };
        if len > limit {
            let what = ResponseTooLarge { len, limit };
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        match status {
            [STATUS_OK] => match read_body(io, len, |_| true).await? {
                Some(bytes) => Ok(WireResponse::Body(bytes)),
                None => Err(io::ErrorKind::OutOfMemory.into()),
            },
            [STATUS_BUSY] => Ok(WireResponse::Refused(Refusal::Busy)),
            [STATUS_RATE_LIMITED] => Ok(WireResponse::Refused(Refusal::RateLimited)),
            [STATUS_NO_ANSWER] => Ok(WireResponse::Refused(Refusal::NoAnswer)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: WireRequest) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let WireRequest::Outgoing { bytes, max_response } = request else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // The same clone reads the response on this stream.
        self.max_response = max_response.min(self.max_response);
        write_frame(io, &[], &bytes).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: WireResponse) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let (status, bytes) = match response {
            WireResponse::Body(bytes) => (STATUS_OK, bytes),
            WireResponse::Refused(Refusal::Busy) => (STATUS_BUSY, Vec::new()),
            WireResponse::Refused(Refusal::RateLimited) => (STATUS_RATE_LIMITED, Vec::new()),
            WireResponse::Refused(_) => (STATUS_NO_ANSWER, Vec::new()),
        };
        write_frame(io, &[status], &bytes).await
    }
}

async fn read_len<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<usize> {
    let mut len = [0_u8; 4];
    io.read_exact(&mut len).await?;
    usize::try_from(u32::from_be_bytes(len)).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Reads `len` bytes, asking `admit` before each step takes memory. The steps
/// double, so at most twice what has arrived is ever held.
async fn read_body<T: AsyncRead + Unpin + Send>(
    io: &mut T,
    len: usize,
    mut admit: impl FnMut(usize) -> bool,
) -> io::Result<Option<Vec<u8>>> {
    let mut bytes: Vec<u8> = Vec::new();
    while bytes.len() < len {
        let have = bytes.len();
        let step = have.max(FIRST_STEP).min(len.saturating_sub(have));
        if !admit(step) {
            return Ok(None);
        }
        bytes.reserve_exact(step);
        bytes.resize(have.saturating_add(step), 0);
        match bytes.get_mut(have..) {
            Some(fresh) => io.read_exact(fresh).await?,
            None => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(Some(bytes))
}

async fn write_frame<T: AsyncWrite + Unpin + Send>(io: &mut T, status: &[u8], bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    io.write_all(status).await?;
    io.write_all(&len.to_be_bytes()).await?;
    io.write_all(bytes).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    //! Frames round-trip; lying, cut and random ones are refused cheaply.
    #![allow(clippy::unwrap_used, clippy::panic)]

    use futures::io::Cursor;
    use libp2p::request_response::Codec as _;
    use proptest::prelude::*;

    use super::*;

    const PROTOCOL: StreamProtocol = StreamProtocol::new("/test/1");

    fn codec(memory: &Budget) -> Codec {
        Codec::new(10_000, 20_000, Duration::from_secs(1), memory.clone())
    }

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    fn request_frame(bytes: &[u8]) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        let request = WireRequest::Outgoing { bytes: bytes.to_vec(), max_response: 5 };
        run(codec(&Budget::new(0)).write_request(&PROTOCOL, &mut out, request)).unwrap();
        out.into_inner()
    }

    fn read_request(frame: &[u8], memory: &Budget) -> io::Result<WireRequest> {
        run(codec(memory).read_request(&PROTOCOL, &mut Cursor::new(frame)))
    }

    #[test]
    fn n2_requests_hold_memory_until_dropped() {
        let memory = Budget::new(10_000);
        for len in [0, 1, FIRST_STEP - 1, FIRST_STEP, FIRST_STEP + 1, 10_000] {
            let frame = request_frame(&vec![7; len]);
            assert_eq!(frame.len(), len + 4);
            let WireRequest::Incoming { bytes, reservation } = read_request(&frame, &memory).unwrap() else {
                panic!("not read: {len}");
            };
            assert_eq!(bytes, vec![7; len]);
            assert_eq!(memory.free(), 10_000 - len);
            drop(reservation);
            assert_eq!(memory.free(), 10_000);
        }
    }

    #[test]
    fn n2_an_oversize_length_is_refused_before_any_memory_is_taken() {
        let memory = Budget::new(0);
        for len in [10_001_u32, 1 << 20, u32::MAX] {
            assert!(matches!(
                read_request(&len.to_be_bytes(), &memory).unwrap(),
                WireRequest::Violation(Violation::Oversize)
            ));
        }
    }

    #[test]
    fn n2_without_memory_a_request_is_not_read() {
        let memory = Budget::new(9_999);
        assert!(matches!(read_request(&request_frame(&[1; 10_000]), &memory).unwrap(), WireRequest::NoRoom));
        assert_eq!(memory.free(), 9_999);
    }

    #[test]
    fn n4_a_request_that_never_ends_is_a_violation() {
        struct Stalled;
        impl AsyncRead for Stalled {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                _: &mut [u8],
            ) -> std::task::Poll<io::Result<usize>> {
                std::task::Poll::Pending
            }
        }
        let memory = Budget::new(0);
        let mut codec = Codec::new(1, 1, Duration::from_millis(10), memory);
        assert!(matches!(
            run(codec.read_request(&PROTOCOL, &mut Stalled)).unwrap(),
            WireRequest::Violation(Violation::Slow)
        ));
    }

    #[test]
    fn responses_round_trip_with_their_status() {
        for response in [
            WireResponse::Body(Vec::new()),
            WireResponse::Body(vec![3; 20_000]),
            WireResponse::Refused(Refusal::Busy),
            WireResponse::Refused(Refusal::RateLimited),
            WireResponse::Refused(Refusal::NoAnswer),
        ] {
            let expected = match &response {
                WireResponse::Body(bytes) => WireResponse::Body(bytes.clone()),
                WireResponse::Refused(why) => WireResponse::Refused(*why),
            };
            let mut codec = codec(&Budget::new(0));
            let mut out = Cursor::new(Vec::new());
            run(codec.write_response(&PROTOCOL, &mut out, response)).unwrap();
            let mut back = Cursor::new(out.into_inner());
            assert_eq!(run(codec.read_response(&PROTOCOL, &mut back)).unwrap(), expected);
        }
    }

    #[test]
    fn n2_a_response_is_read_up_to_the_requests_own_limit() {
        let mut codec = codec(&Budget::new(0));
        let request = WireRequest::Outgoing { bytes: vec![], max_response: 5 };
        run(codec.write_request(&PROTOCOL, &mut Cursor::new(Vec::new()), request)).unwrap();
        let frame = |len: u32| [vec![STATUS_OK], len.to_be_bytes().to_vec(), vec![0; 6]].concat();
        assert!(run(codec.read_response(&PROTOCOL, &mut Cursor::new(frame(5)))).is_ok());
        let error = run(codec.read_response(&PROTOCOL, &mut Cursor::new(frame(6)))).unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<ResponseTooLarge>();
        assert_eq!(inner.map(|e| (e.len, e.limit)), Some((6, 5)));
    }

    #[test]
    fn a_refusal_with_a_body_is_malformed() {
        let frame = [STATUS_BUSY, 0, 0, 0, 1, 9];
        let read = run(codec(&Budget::new(0)).read_response(&PROTOCOL, &mut Cursor::new(frame)));
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn n1_random_bytes_never_panic_nor_keep_memory(
            frame in proptest::collection::vec(any::<u8>(), 0..64),
            short in any::<bool>(),
        ) {
            // Half of the frames get a length that is within the limit.
            let mut frame = frame;
            if short {
                frame.splice(0..frame.len().min(3), [0, 0, 0]);
            }
            let memory = Budget::new(10_000);
            if let Ok(WireRequest::Incoming { bytes, .. }) = read_request(&frame, &memory) {
                prop_assert!(bytes.len() + 4 <= frame.len());
            }
            prop_assert_eq!(memory.free(), 10_000);
            let _ = run(codec(&memory).read_response(&PROTOCOL, &mut Cursor::new(frame)));
        }

        #[test]
        fn n1_a_cut_request_is_an_error(len in 1_usize..9_000, cut in 1_usize..9_000) {
            let frame = request_frame(&vec![1; len]);
            let keep = frame.len().saturating_sub(cut);
            let memory = Budget::new(10_000);
            let read = read_request(frame.get(..keep).unwrap(), &memory);
            prop_assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            prop_assert_eq!(memory.free(), 10_000);
        }
    }
}
