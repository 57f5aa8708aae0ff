//! `sensor flows`: the connections of this host now, with the names of who speaks.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::args::{Flows, Sort};
use super::display::{bytes, column, duration, printable};
use crate::config::Networks;
use crate::flow::{Dumper, Places, Totals, Translations, View, Wanted, own};
use crate::identity::Processes;

/// The most connections that are looked at.
const LIMIT: usize = 1_000_000;
/// Widths of the columns of names.
const NAME: usize = 20;
/// Widths of the columns of addresses.
const ADDRESS: usize = 26;

/// A connection as its one end on this host sees it.
struct Row {
    service: String,
    peer: String,
    local: SocketAddr,
    remote: SocketAddr,
    totals: Totals,
}

/// Writes a line a connection.
///
/// # Errors
/// When the sockets cannot be read, or the lines not written.
pub fn flows(args: &Flows, out: &mut impl Write) -> anyhow::Result<()> {
    let mut dump = Dumper::start(LIMIT)?
        .look(Wanted { holders: true, conntrack: true })
        .context("cannot read the sockets of this host")?;
    if dump.failed > 0 {
        tracing::warn!("{} network namespaces could not be read", dump.failed);
    }
    let mut places = Places::new(own(), Networks::default(), 0);
    let addresses = dump.namespaces.iter();
    places.set_addresses(
        addresses.flat_map(|found| found.addresses.iter().map(|address| (found.inode, *address))),
    );
    let mut translations = Translations::default();
    translations.apply(dump.conntrack.take());
    let mut processes = Processes::default();
    let holders = dump.holders.unwrap_or_default();
    let mut services: HashMap<(u32, SocketAddr, SocketAddr), Arc<str>> = HashMap::new();
    for namespace in &dump.namespaces {
        for socket in &namespace.sockets.connected {
            // One with children that hold it as well is named by the first, which is the oldest.
            let holder = holders.get(&socket.inode).and_then(|holders| holders.iter().min());
            if let Some(process) = holder.and_then(|holder| processes.find(*holder)) {
                services.insert((namespace.inode, socket.local, socket.remote), process.name);
            }
        }
    }
    let mut rows = Vec::new();
    for namespace in &dump.namespaces {
        for socket in &namespace.sockets.connected {
            let (local, remote) = (socket.local, socket.remote);
            let name =
                |service: Option<&Arc<str>>| service.map_or_else(|| "-".to_owned(), |name| printable(name));
            let mut other = View { local, remote }.turned();
            let at = |other: View| {
                let netns = places.namespace(namespace.inode, other.local.ip())?;
                services.get(&(netns, other.local, other.remote))
            };
            let mut peer = at(other);
            if peer.is_none()
                && !remote.ip().is_loopback()
                && let Some(translated) = translations.other_end(other.turned())
            {
                other = translated;
                peer = at(other);
            }
            let network = || places.network(other.local.ip()).name().to_owned();
            rows.push(Row {
                service: name(services.get(&(namespace.inode, local, remote))),
                peer: peer.map_or_else(network, |peer| printable(peer)),
                local,
                remote,
                totals: socket.totals,
            });
        }
    }
    sort(&mut rows, args.sort);
    write(&rows, args.limit.unwrap_or(usize::MAX), out)
}

/// Figures: the greatest first; names: by the alphabet.
fn sort(rows: &mut [Row], by: Sort) {
    rows.sort_by(|a, b| {
        let order = match by {
            Sort::Sent => b.totals.sent_bytes.cmp(&a.totals.sent_bytes),
            Sort::Received => b.totals.received_bytes.cmp(&a.totals.received_bytes),
            Sort::Retransmits => b.totals.retransmits.cmp(&a.totals.retransmits),
            Sort::Rtt => b.totals.rtt_us.cmp(&a.totals.rtt_us),
            Sort::Service => a.service.cmp(&b.service),
            Sort::Peer => a.peer.cmp(&b.peer),
        };
        order.then_with(|| a.local.cmp(&b.local)).then_with(|| a.remote.cmp(&b.remote))
    });
}

fn write(rows: &[Row], limit: usize, out: &mut impl Write) -> anyhow::Result<()> {
    let header = |text: &str, width| column(text, width);
    writeln!(
        out,
        "{} {} {} {} {:>6} {:>8} {:>7} {:>6}",
        header("SERVICE", NAME),
        header("PEER", NAME),
        header("LOCAL", ADDRESS),
        header("REMOTE", ADDRESS),
        "SENT",
        "RECEIVED",
        "RETRANS",
        "RTT"
    )?;
    for row in rows.iter().take(limit) {
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let size = |count: u64| bytes(count as f64);
        writeln!(
            out,
            "{} {} {} {} {:>6} {:>8} {:>7} {:>6}",
            column(&row.service, NAME),
            column(&row.peer, NAME),
            column(&row.local.to_string(), ADDRESS),
            column(&row.remote.to_string(), ADDRESS),
            size(row.totals.sent_bytes),
            size(row.totals.received_bytes),
            row.totals.retransmits,
            duration(Duration::from_micros(row.totals.rtt_us.into())),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(service: &str, port: u16, sent_bytes: u64) -> Row {
        Row {
            service: service.to_owned(),
            peer: "vpc".to_owned(),
            local: ([10, 0, 0, 1], port).into(),
            remote: ([10, 0, 0, 2], 80).into(),
            totals: Totals { sent_bytes, rtt_us: 250, ..Totals::default() },
        }
    }

    #[test]
    fn rows_are_sorted_by_what_is_asked_for() {
        let mut rows = [row("b", 1, 10), row("a", 2, 2_000), row("c", 3, 300)];
        let names = |rows: &[Row]| rows.iter().map(|row| row.service.clone()).collect::<String>();
        sort(&mut rows, Sort::Sent);
        assert_eq!(names(&rows), "acb");
        sort(&mut rows, Sort::Service);
        assert_eq!(names(&rows), "abc");
    }

    #[test]
    fn the_table_has_a_line_a_connection() {
        let mut out = Vec::new();
        write(&[row("shop", 1, 2_048), row("bank", 2, 1)], 1, &mut out).unwrap();
        let expected = "\
SERVICE              PEER                 LOCAL                      REMOTE                       SENT RECEIVED RETRANS    RTT
shop                 vpc                  10.0.0.1:1                 10.0.0.2:80                  2.0K        0       0  250us
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
