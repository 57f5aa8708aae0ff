//! Records and counters of connections below HTTP.

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, RingBuf},
};
use sensor_common::{
    flow::{Flow, FlowCounter, FlowKind, Named, STREAM},
    protocol::NetworkProtocol,
    record::{Head, Prefix, Record as _, SEND, Tuple},
};
use tokio::io::unix::AsyncFd;

use super::{
    Capability, CaptureError, Kernel, Route, attach,
    decode::{address, task},
    session::take,
};
use crate::flow::{Ends, Event, What, dns};

/// What a record tells.
#[derive(Debug)]
pub enum Told<'a> {
    /// A change of a connection.
    Event(Event),
    /// A message of the name service.
    Dns(dns::Captured<'a>),
    /// What is spoken between whom, as was seen then, in nanoseconds of `CLOCK_MONOTONIC`.
    Named(Ends, NetworkProtocol, u64),
}

/// The programs of connections and their maps.
pub struct Flows {
    ring: AsyncFd<RingBuf<MapData>>,
    counters: PerCpuArray<MapData, u64>,
    refused: Vec<CaptureError>,
    runs: bool,
    rejected: u64,
}

impl Flows {
    /// Attaches the programs that the kernel allows, and what `route` needs beside. What the kernel refuses is kept, and is no error: everything else works without it.
    pub(super) fn start(
        ebpf: &mut Ebpf,
        kernel: &Kernel,
        route: Route,
        wants_dns: bool,
    ) -> Result<Self, CaptureError> {
        let states = attach::flow(ebpf, kernel);
        let runs = states.is_ok();
        let resets = runs.then(|| (Capability::TcpResets, attach::resets(ebpf)));
        let mut refused = Vec::new();
        for (capability, attached) in [(Capability::TcpStates, states)].into_iter().chain(resets) {
            capability.learn(attached.as_ref().map(|()| String::new()).map_err(CaptureError::brief));
            refused.extend(attached.err());
        }
        if runs {
            refused.extend(attach::connects(ebpf, kernel, route).err());
        }
        if runs && wants_dns {
            refused.extend(attach::dns(ebpf, kernel, route).err());
        }
        let ring = RingBuf::try_from(take(ebpf, "FLOW_EVENTS")?)
            .map_err(|error| CaptureError::kernel("map", "FLOW_EVENTS", error))?;
        // SAFETY: the ring buffer owns its descriptor, always answers with the same one, and lives in the `AsyncFd`.
        let ring = unsafe { AsyncFd::register(ring) }
            .map_err(|error| CaptureError::kernel("watch", "FLOW_EVENTS", std::io::Error::from(error)))?;
        let counters = PerCpuArray::try_from(take(ebpf, "FLOW_COUNTERS")?)
            .map_err(|error| CaptureError::kernel("open", "FLOW_COUNTERS", error))?;
        Ok(Self { ring, counters, refused, runs, rejected: 0 })
    }

    /// Whether the kernel tells of connections.
    #[must_use]
    pub fn run(&self) -> bool {
        self.runs
    }

    /// What the kernel does not allow.
    #[must_use]
    pub fn refused(&self) -> &[CaptureError] {
        &self.refused
    }

    /// Waits until the ring buffer is filling up.
    pub(super) async fn filling(&self) -> std::io::Result<()> {
        self.ring.readable().await?.clear_ready();
        Ok(())
    }

    /// Hands all records that wait, up to `limit`, to `sink`; how many there were.
    pub fn drain(&mut self, limit: usize, mut sink: impl FnMut(Told<'_>)) -> usize {
        let ring = self.ring.get_mut();
        let mut records = 0;
        while records < limit {
            let Some(item) = ring.next() else { break };
            match decode(&item) {
                Some(told) => sink(told),
                None => self.rejected += 1,
            }
            records += 1;
        }
        records
    }

    /// Records that were not whole or of no known kind; expected 0.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// The counters, summed over the processors, in the order of [`FlowCounter::ALL`].
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counters(&self) -> Result<[u64; FlowCounter::LEN as usize], CaptureError> {
        let mut sums = [0; FlowCounter::LEN as usize];
        for (counter, sum) in FlowCounter::ALL.into_iter().zip(&mut sums) {
            let values = self
                .counters
                .get(&(counter as u32), 0)
                .map_err(|error| CaptureError::kernel("read", "FLOW_COUNTERS", error))?;
            *sum = values.iter().sum();
        }
        Ok(sums)
    }
}

/// Decodes one record; `None` when it is not whole or of no known kind.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Told<'_>> {
    let (prefix, _) = Prefix::read(bytes)?;
    if prefix.kind == FlowKind::Named as u16 {
        let (named, _) = Named::read(bytes)?;
        let protocol = NetworkProtocol::numbered(prefix.flags)?;
        Some(Told::Named(ends(&named.tuple), protocol, named.time_ns))
    } else if prefix.kind == FlowKind::Dns as u16 {
        message(bytes).map(Told::Dns)
    } else {
        event(bytes).map(Told::Event)
    }
}

fn message(bytes: &[u8]) -> Option<dns::Captured<'_>> {
    let (head, rest) = Head::read(bytes)?;
    let tuple = &head.tuple;
    Some(dns::Captured {
        socket: head.key,
        is_sent: head.prefix.flags & SEND != 0,
        is_stream: head.prefix.flags & STREAM != 0,
        time_ns: head.time_ns,
        bytes: rest.get(..head.prefix.payload as usize)?,
        length: head.operation_len as usize,
        task: task(head.task),
        netns: tuple.netns,
        local: address(tuple.local_address, tuple.local_port),
        remote: address(tuple.remote_address, tuple.remote_port),
    })
}

fn event(bytes: &[u8]) -> Option<Event> {
    let (flow, _) = Flow::read(bytes)?;
    let kinds = [
        (FlowKind::Opened, What::Opened),
        (FlowKind::Accepted, What::Accepted),
        (FlowKind::Failed, What::Failed),
        (FlowKind::Closed, What::Closed),
        (FlowKind::Listen, What::Listen),
        (FlowKind::ResetSent, What::ResetSent),
        (FlowKind::ResetReceived, What::ResetReceived),
    ];
    let (_, what) = kinds.into_iter().find(|(kind, _)| *kind as u16 == flow.prefix.kind)?;
    let tuple = &flow.tuple;
    Some(Event {
        what,
        time_ns: flow.time_ns,
        started_ns: (flow.started_ns != 0).then_some(flow.started_ns),
        error: i32::try_from(flow.error).unwrap_or_default(),
        totals: flow.totals.into(),
        task: (flow.task.tgid != 0).then_some(task(flow.task)),
        ends: ends(tuple),
        cookie: (tuple.cookie != 0).then_some(tuple.cookie),
    })
}

fn ends(tuple: &Tuple) -> Ends {
    Ends {
        netns: tuple.netns,
        local: address(tuple.local_address, tuple.local_port),
        remote: address(tuple.remote_address, tuple.remote_port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_becomes_an_event() {
        let flow = Flow {
            prefix: Prefix { kind: FlowKind::Failed as u16, ..Prefix::default() },
            error: 111,
            tuple: Tuple {
                remote_address: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1],
                remote_port: 80,
                ..Tuple::default()
            },
            ..Flow::default()
        };
        let Some(Told::Event(event)) = decode(flow.bytes()) else { panic!("no event") };
        assert_eq!((event.what, event.error), (What::Failed, 111));
        assert_eq!(event.ends.remote, "10.0.0.1:80".parse().unwrap());
        assert_eq!((event.started_ns, event.task, event.cookie), (None, None, None));
    }

    #[test]
    fn a_message_of_the_name_service_has_as_many_bytes_as_it_says() {
        let head = Head {
            prefix: Prefix { kind: FlowKind::Dns as u16, flags: SEND | STREAM, payload: 3 },
            operation_len: 40,
            ..Head::default()
        };
        let mut bytes = head.bytes().to_vec();
        assert!(decode(&bytes).is_none());
        bytes.extend_from_slice(b"abcd");
        let Some(Told::Dns(message)) = decode(&bytes) else { panic!("no message") };
        assert_eq!((message.bytes, message.length), (&b"abc"[..], 40));
        assert!(message.is_sent && message.is_stream);
    }

    #[test]
    fn what_is_cut_or_unknown_is_refused() {
        assert!(decode(&[0; 143]).is_none());
        assert!(decode(Flow::default().bytes()).is_none());
    }
}
