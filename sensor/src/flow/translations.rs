//! Whose address is behind a translated one, asked within bounds.

use std::io;

use super::conntrack::{Conntrack, View};

/// The most questions a second: an answer takes some microseconds, on the thread that takes everything along.
const QUESTIONS: u32 = 20_000;

/// What was not undone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Untold {
    /// Questions to which the kernel had no proper answer.
    pub unread: u64,
    /// Connections beyond the bound.
    pub left_out: u64,
}

/// Translations of addresses on this host.
#[derive(Debug, Default)]
pub struct Translations {
    /// `None` where nothing tracks connections, or it can't be asked.
    conntrack: Option<Conntrack>,
    asked: u32,
    untold: Untold,
    refused: Option<io::ErrorKind>,
}

impl Translations {
    /// Whether connection tracking is asked.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.conntrack.is_some()
    }

    /// What a look brought: it is asked from now on, or can't be.
    pub fn apply(&mut self, found: Option<io::Result<Conntrack>>) {
        match found {
            Some(Ok(conntrack)) => self.conntrack = Some(conntrack),
            Some(Err(error)) => self.refused(&error),
            None => {}
        }
    }

    /// Says why it can't be asked, once.
    fn refused(&mut self, error: &io::Error) {
        if self.refused.replace(error.kind()) == Some(error.kind()) {
            return;
        }
        let lacks = "peers behind translated addresses are not named";
        match error.kind() {
            io::ErrorKind::NotFound => tracing::info!("{lacks}: {error}"),
            _ => tracing::warn!("{lacks}: {error}"),
        }
    }

    /// What the other end's socket has, where that is something else than what this one knows.
    pub fn other_end(&mut self, view: View) -> Option<View> {
        let conntrack = self.conntrack.as_mut()?;
        if self.asked >= QUESTIONS {
            self.untold.left_out += 1;
            return None;
        }
        self.asked += 1;
        match conntrack.other_end(view) {
            Ok(found) => found.filter(|other| *other != view.turned()),
            Err(error) => {
                if self.untold.unread == 0 {
                    tracing::warn!("a translation of addresses is not undone: {error}");
                }
                self.untold.unread += 1;
                // What is left in the socket may not be whole; the next look opens another.
                if error.kind() != io::ErrorKind::InvalidData {
                    self.conntrack = None;
                }
                None
            }
        }
    }

    /// What is due once a second.
    pub fn second(&mut self) {
        self.asked = 0;
    }

    /// What was not undone so far.
    #[must_use]
    pub fn untold(&self) -> Untold {
        self.untold
    }
}
