//! What it must have counted and printed.

use super::{SETTLE, Sensor, lost};
use crate::calls::{Calls, Role, counted, services, total};
use crate::link::Link;
use crate::spans::Span;
use crate::wait::{patience, wait_for, wait_until};

impl Sensor {
    /// What it counted so far on one side of a server's port.
    #[track_caller]
    #[must_use]
    pub fn counted(&self, role: Role, port: u16) -> Calls {
        counted(&self.metrics(), role, port)
    }

    /// The service on one side of a server's port, which must be the same for all exchanges so far.
    ///
    /// # Panics
    /// When there is none within the time limit, or more than one.
    #[track_caller]
    #[must_use]
    pub fn service(&self, role: Role, port: u16) -> String {
        let some = || Some(services(&self.metrics(), role, port)).filter(|names| !names.is_empty());
        let names = wait_until("an exchange to be counted", patience(SETTLE), some);
        assert_eq!(names.len(), 1, "{names:?}");
        names.into_iter().next().unwrap_or_default()
    }

    /// Requires that exactly these calls are counted on one side of a server's port: not fewer once everything has
    /// been worked off, and not more.
    ///
    /// # Panics
    /// When others are.
    #[track_caller]
    pub fn expect(&self, role: Role, port: u16, expected: &Calls) {
        self.expect_all(&[(role, port, expected)]);
    }

    /// [`Self::expect`] of both sides.
    #[track_caller]
    pub fn expect_both(&self, port: u16, expected: &Calls) {
        self.expect_all(&[(Role::Server, port, expected), (Role::Client, port, expected)]);
    }

    /// [`Self::expect`] of several sides and ports.
    #[track_caller]
    pub fn expect_all(&self, expected: &[(Role, u16, &Calls)]) {
        // What is too few may be on its way. What is too many shows after all that came before a later exchange.
        wait_for(patience(SETTLE), || {
            let metrics = self.metrics();
            expected
                .iter()
                .all(|(role, port, calls)| counted(&metrics, *role, *port) == **calls)
                .then_some(())
        });
        self.barrier();
        let metrics = self.metrics();
        for (role, port, calls) in expected {
            let counted = counted(&metrics, *role, *port);
            let side = role.name();
            let lost = lost(&metrics);
            assert_eq!(
                counted, **calls,
                "{side} side of port {port}: counted (left), true (right); lost {lost:?}"
            );
        }
    }

    /// Makes an exchange of its own and waits until it is counted: everything before it has been seen by then.
    #[track_caller]
    pub fn barrier(&self) {
        let address = self.barrier.local_addr().expect("the barrier's address");
        let seen = || {
            let metrics = self.metrics();
            [Role::Server, Role::Client].map(|role| total(&counted(&metrics, role, address.port())))
        };
        let before = seen();
        let mut link = Link::connect(&self.barrier, address);
        link.request(b"GET /barrier HTTP/1.1\r\nHost: localhost\r\n\r\n");
        link.response(b"HTTP/1.1 204 No Content\r\n\r\n");
        let both = before.map(|count| count + 1);
        wait_until("the barrier's exchange", patience(SETTLE), || (seen() == both).then_some(()));
    }

    /// The spans of one side of a server's port by their start, once there are `count` of them.
    ///
    /// # Panics
    /// When there are more or fewer.
    #[track_caller]
    #[must_use]
    pub fn expect_spans(&self, role: Role, port: u16, count: usize) -> Vec<Span> {
        self.expect_spans_of(&[(role, port)], count)
    }

    /// The same of several sides and ports together.
    ///
    /// # Panics
    /// When there are more or fewer.
    #[track_caller]
    #[must_use]
    pub fn expect_spans_of(&self, sides: &[(Role, u16)], count: usize) -> Vec<Span> {
        let sides: Vec<_> = sides.iter().map(|(role, port)| (role.span_kind(), port.to_string())).collect();
        let find = || -> Vec<Span> {
            let of = |span: &Span| {
                sides.iter().any(|(kind, port)| span.kind == *kind && span.attribute("server.port") == port)
            };
            self.spans().into_iter().filter(of).collect()
        };
        wait_for(patience(SETTLE), || (find().len() >= count).then_some(()));
        let mut spans = find();
        assert_eq!(spans.len(), count, "spans of {sides:?}: {spans:#?}");
        spans.sort_by_key(|span| span.start_ns);
        spans
    }
}
