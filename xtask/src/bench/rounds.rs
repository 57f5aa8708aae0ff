//! How often something is measured, and for how long.

use clap::Args;

#[derive(Args)]
#[group(id = "plan")]
pub(crate) struct Rounds {
    /// How often each is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// One round of two seconds, printed and not written into the page.
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    pub(super) quick: bool,
}

impl Rounds {
    /// How many rounds, of how many seconds.
    pub(super) fn plan(&self) -> (u64, u64) {
        if self.quick { (1, 2) } else { (self.rounds, self.seconds) }
    }
}
