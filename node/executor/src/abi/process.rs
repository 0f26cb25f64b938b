//! Arguments, environment, clocks, randomness, waiting; and what does not exist here.

use super::{Call, Done, Ptr, Stop, offset};
use crate::profile::{CLOCK_START_NS, MAX_SUBSCRIPTIONS};
use crate::world::errno::Errno;
use crate::world::fds::{Target, rights};

/// Clock identifiers.
const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;
const PROCESS_CPU: u32 = 2;
const THREAD_CPU: u32 = 3;

fn strings(call: &mut Call<'_>, list: &[Vec<u8>], pointers: Ptr, buf: Ptr) -> Done {
    let mut at = buf;
    for (i, bytes) in list.iter().enumerate() {
        let i = u32::try_from(i).map_err(|_| Errno::Overflow)?;
        call.put_u32(offset(pointers, i, 4)?, at)?;
        call.put(at, bytes)?;
        let len = u32::try_from(bytes.len()).map_err(|_| Errno::Overflow)?;
        at = at.checked_add(len).ok_or(Errno::Fault)?;
    }
    Ok(())
}

fn sizes(call: &mut Call<'_>, count: usize, bytes: usize, to: Ptr, size: Ptr) -> Done {
    call.put_u32(to, u32::try_from(count).map_err(|_| Errno::Overflow)?)?;
    call.put_u32(size, u32::try_from(bytes).map_err(|_| Errno::Overflow)?)
}

pub(super) fn args_get(call: &mut Call<'_>, argv: Ptr, buf: Ptr) -> Done {
    let list = std::mem::take(&mut call.world.args);
    let done = strings(call, &list, argv, buf);
    call.world.args = list;
    done
}

pub(super) fn args_sizes_get(call: &mut Call<'_>, count: Ptr, size: Ptr) -> Done {
    let (number, bytes) = (call.world.args.len(), call.world.args.iter().map(Vec::len).sum());
    sizes(call, number, bytes, count, size)
}

pub(super) fn environ_get(call: &mut Call<'_>, environ: Ptr, buf: Ptr) -> Done {
    let list = std::mem::take(&mut call.world.env);
    let done = strings(call, &list, environ, buf);
    call.world.env = list;
    done
}

pub(super) fn environ_sizes_get(call: &mut Call<'_>, count: Ptr, size: Ptr) -> Done {
    let (number, bytes) = (call.world.env.len(), call.world.env.iter().map(Vec::len).sum());
    sizes(call, number, bytes, count, size)
}

fn clock(call: &Call<'_>, id: u32) -> Result<u64, Stop> {
    match id {
        REALTIME => Ok(call.world.now()),
        MONOTONIC => Ok(call.world.elapsed()),
        // Sleeping is no work.
        PROCESS_CPU | THREAD_CPU => Ok(call.world.burned),
        _ => Err(Errno::Inval.into()),
    }
}

pub(super) fn clock_res_get(call: &mut Call<'_>, id: u32, out: Ptr) -> Done {
    clock(call, id)?;
    call.put_u64(out, 1)
}

pub(super) fn clock_time_get(call: &mut Call<'_>, id: u32, _precision: u64, out: Ptr) -> Done {
    let now = clock(call, id)?;
    call.put_u64(out, now)
}

pub(super) fn random_get(call: &mut Call<'_>, buf: Ptr, len: u32) -> Done {
    call.pay(u64::from(len))?;
    let world = &mut *call.world;
    let out = call.memory.get_mut(super::range(buf, len)?).ok_or(Errno::Fault)?;
    world.random(out);
    Ok(())
}

pub(super) fn sched_yield(_call: &mut Call<'_>) -> Done {
    Ok(())
}

/// Signals do not exist.
pub(super) fn proc_raise(_call: &mut Call<'_>, _signal: u32) -> Done {
    Err(Errno::NotSup.into())
}

/// No descriptor is a socket.
fn no_socket(call: &Call<'_>, fd: u32) -> Done {
    call.world.fds.get(fd)?;
    Err(Errno::NotSock.into())
}

pub(super) fn sock_accept(call: &mut Call<'_>, fd: u32, _flags: u32, _out: Ptr) -> Done {
    no_socket(call, fd)
}

pub(super) fn sock_recv(
    call: &mut Call<'_>,
    fd: u32,
    _list: Ptr,
    _count: u32,
    _flags: u32,
    _out: Ptr,
    _out_flags: Ptr,
) -> Done {
    no_socket(call, fd)
}

pub(super) fn sock_send(call: &mut Call<'_>, fd: u32, _list: Ptr, _count: u32, _flags: u32, _out: Ptr) -> Done {
    no_socket(call, fd)
}

pub(super) fn sock_shutdown(call: &mut Call<'_>, fd: u32, _how: u32) -> Done {
    no_socket(call, fd)
}

const EVENT_BYTES: u32 = 32;
const EVENT_CLOCK: u8 = 0;
const EVENT_READ: u8 = 1;
const EVENT_WRITE: u8 = 2;
const ABSOLUTE: u64 = 1;
const HANGUP: u16 = 1;

/// What a subscription came to.
struct Event {
    userdata: u64,
    errno: u16,
    kind: u8,
    bytes: u64,
    flags: u16,
}

/// A timer that is still to come: subscription, and how long it takes from now.
struct Timer {
    userdata: u64,
    wait: u64,
}

/// Waits without waiting: what is ready is told at once; if nothing is, the clock
/// jumps to the first timer.
pub(super) fn poll_oneoff(call: &mut Call<'_>, subs: Ptr, events: Ptr, count: u32, out: Ptr) -> Done {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(Errno::Inval.into());
    }
    let layout = call.abi.subscription();
    call.pay(u64::from(count).saturating_mul(u64::from(layout.size)))?;
    // Records are there as a whole, and what cannot be told does not happen.
    call.slice(subs, offset(0, count, layout.size)?)?;
    call.slice(events, offset(0, count, EVENT_BYTES)?)?;
    call.slice(out, 4)?;
    let mut ready = Vec::new();
    let mut timers = Vec::new();
    for i in 0..count {
        let at = offset(subs, i, layout.size)?;
        let field = |skip| offset(at, 1, skip);
        let userdata = call.u64_at(at)?;
        let [kind] = *call.slice(field(8)?, 1)? else {
            return Err(Errno::Fault.into());
        };
        match kind {
            EVENT_CLOCK => {
                let id = call.u32_at(field(layout.clock)?)?;
                let timeout = call.u64_at(field(layout.timeout)?)?;
                let flags = u64::from(call.u32_at(field(layout.flags)?)? & 0xffff);
                match timer(call, id, timeout, flags) {
                    Ok(wait) => timers.push(Timer { userdata, wait }),
                    Err(errno) => ready.push(Event { userdata, errno: errno.code(), kind, bytes: 0, flags: 0 }),
                }
            }
            EVENT_READ | EVENT_WRITE => {
                let fd = call.u32_at(field(16)?)?;
                let (errno, bytes, flags) = match readiness(call, fd, kind == EVENT_READ) {
                    Ok((bytes, flags)) => (0, bytes, flags),
                    Err(errno) => (errno.code(), 0, 0),
                };
                ready.push(Event { userdata, errno, kind, bytes, flags });
            }
            _ => return Err(Errno::Inval.into()),
        }
    }
    let jump = if ready.is_empty() { timers.iter().map(|timer| timer.wait).min().unwrap_or(0) } else { 0 };
    call.world.sleep(jump);
    for timer in timers {
        if timer.wait <= jump {
            ready.push(Event { userdata: timer.userdata, errno: 0, kind: EVENT_CLOCK, bytes: 0, flags: 0 });
        }
    }
    let mut number = 0u32;
    for event in &ready {
        let mut record = [0u8; EVENT_BYTES as usize];
        let fields = [
            (0, &event.userdata.to_le_bytes()[..]),
            (8, &event.errno.to_le_bytes()),
            (10, &[event.kind]),
            (16, &event.bytes.to_le_bytes()),
            (24, &event.flags.to_le_bytes()),
        ];
        for (at, bytes) in fields {
            for (to, from) in record.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
        }
        call.put(offset(events, number, EVENT_BYTES)?, &record)?;
        number = number.saturating_add(1);
    }
    call.put_u32(out, number)
}

/// How long a timer takes from now.
fn timer(call: &Call<'_>, id: u32, timeout: u64, flags: u64) -> Result<u64, Errno> {
    let now = match id {
        REALTIME => CLOCK_START_NS.saturating_add(call.world.elapsed()),
        MONOTONIC => call.world.elapsed(),
        PROCESS_CPU | THREAD_CPU => return Err(Errno::NotSup),
        _ => return Err(Errno::Inval),
    };
    if flags & ABSOLUTE == 0 { Ok(timeout) } else { Ok(timeout.saturating_sub(now)) }
}

/// Bytes that can be read or written now, and flags.
fn readiness(call: &Call<'_>, fd: u32, reading: bool) -> Result<(u64, u16), Errno> {
    let world = &*call.world;
    let fd = world.fds.get(fd)?;
    fd.need(rights::POLL_FD_READWRITE)?;
    match (&fd.target, reading) {
        (Target::Stdin, true) => {
            let left = world.stdin_left().len() as u64;
            Ok((left, if left == 0 { HANGUP } else { 0 }))
        }
        (Target::Stdout | Target::Stderr, false) => Ok((1, 0)),
        (Target::File { ino, at }, true) => Ok((world.fs.size(*ino)?.saturating_sub(*at), 0)),
        (Target::File { .. }, false) => Ok((1, 0)),
        _ => Err(Errno::BadF),
    }
}
