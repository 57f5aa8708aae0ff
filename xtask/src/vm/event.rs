//! What the guest's init reports on its second serial port: one line an event, fields between tabs.
//!
//! The first port carries the kernel's messages and the tests' own output, which mix; this one carries nothing
//! else, so that no message of the kernel can spoil a verdict.
//!
//! ```text
//! fact <name> <value>             something the kernel has or lacks
//! way <way> <yes|no> <reason>     whether the sensor can capture this way
//! begin <way> <test>
//! end <way> <test> <ok|failed|timeout> <milliseconds>
//! verified <way> <program> <instructions>
//! measured <way|none> <requests> <nginx's ns> <daemon's ns> <elapsed ns>
//! error <text>                    the guest itself could not go on
//! verdict <ok|failed>             the last line
//! ```

use super::way::Way;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Fact { name: String, value: String },
    Way { way: Way, allowed: bool, reason: String },
    Begin { way: Way, test: String },
    End { way: Way, test: String, passed: bool, outcome: String, milliseconds: u64 },
    Verified { way: Way, program: String, instructions: u64 },
    Measured(Measured),
    Error(String),
    Verdict { ok: bool },
}

/// One run under load, without the sensor or by one way. Times are in nanoseconds of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) way: Option<Way>,
    pub(crate) requests: u64,
    /// Processor time of nginx, with the programs that ran in its system calls.
    pub(crate) server_ns: u64,
    /// Processor time of the daemon.
    pub(crate) daemon_ns: u64,
    pub(crate) elapsed_ns: u64,
}

impl Event {
    /// `None` for a line that is not of the protocol.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.trim_end_matches(['\r', '\n']).split('\t').collect();
        Some(match fields.as_slice() {
            ["fact", name, value] => Self::Fact { name: (*name).into(), value: (*value).into() },
            ["way", way, allowed, reason] => Self::Way {
                way: Way::parse(way)?,
                allowed: yes_or_no(allowed, "yes", "no")?,
                reason: (*reason).into(),
            },
            ["begin", way, test] => Self::Begin { way: Way::parse(way)?, test: (*test).into() },
            ["end", way, test, outcome, milliseconds] => Self::End {
                way: Way::parse(way)?,
                test: (*test).into(),
                passed: *outcome == "ok",
                outcome: (*outcome).into(),
                milliseconds: milliseconds.parse().ok()?,
            },
            ["verified", way, program, instructions] => Self::Verified {
                way: Way::parse(way)?,
                program: (*program).into(),
                instructions: instructions.parse().ok()?,
            },
            ["measured", way, requests, server, daemon, elapsed] => Self::Measured(Measured {
                way: if *way == "none" { None } else { Some(Way::parse(way)?) },
                requests: requests.parse().ok()?,
                server_ns: server.parse().ok()?,
                daemon_ns: daemon.parse().ok()?,
                elapsed_ns: elapsed.parse().ok()?,
            }),
            ["error", text] => Self::Error((*text).into()),
            ["verdict", verdict] => Self::Verdict { ok: yes_or_no(verdict, "ok", "failed")? },
            _ => return None,
        })
    }
}

fn yes_or_no(text: &str, yes: &str, no: &str) -> Option<bool> {
    if text == yes { Some(true) } else { (text == no).then_some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_line_is_read() {
        let end = Event::parse("end\tsocket\thttp::get\ttimeout\t2500\r\n").unwrap();
        assert_eq!(
            end,
            Event::End {
                way: Way::Socket,
                test: "http::get".into(),
                passed: false,
                outcome: "timeout".into(),
                milliseconds: 2500,
            }
        );
        assert_eq!(Event::parse("verdict\tok"), Some(Event::Verdict { ok: true }));
        let no = Event::parse("way\tfentry\tno\tneeds BTF").unwrap();
        assert_eq!(no, Event::Way { way: Way::Fentry, allowed: false, reason: "needs BTF".into() });
    }

    #[test]
    fn a_damaged_line_is_no_event() {
        for line in ["", "verdict", "verdict\tperhaps", "end\tsocket\tx\tok\tsoon", "begin\tkprobe\tx"] {
            assert_eq!(Event::parse(line), None, "{line:?}");
        }
    }
}
