//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::log::Choice;

/// Shows what this host's HTTP services do, with no change to them.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(name = "sensor", version, about, arg_required_else_help = true)]
pub struct Args {
    /// Which messages are logged: a level, or `target=level` pairs with commas between them
    #[arg(long, global = true, env = "SENSOR_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Observe this host until Ctrl-C or SIGTERM
    Run(Run),
    /// Say line by line what this kernel and this configuration allow
    Check(Check),
    /// Mask standard input line by line, as the sensor does before anything leaves
    Mask(Mask),
    /// Print the TCP connections of this host now, in all network namespaces, with the names of who speaks
    Flows(Flows),
}

/// The arguments of `sensor run`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Run {
    /// A YAML file with settings; without it, the defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port where metrics are served; goes before the file's `listen`
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// Print this to standard output, in place of the table or the lines; several with commas between them
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub print: Vec<Print>,
    /// Follow the standard output and error of these processes: a process id, a command, or the path of a control
    /// group; may be given several times, beside the file's `logs.processes`
    #[arg(long, value_name = "PID|COMMAND|CGROUP")]
    pub logs: Vec<Choice>,
}

/// What can be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Print {
    /// One line of OTLP JSON for each batch of spans
    Spans,
    /// One line of JSON for each log record
    Logs,
}

/// The arguments of `sensor check`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Check {
    /// A YAML file with settings; without it, the defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The arguments of `sensor mask`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Mask {
    /// A YAML file with settings; without it, the defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which masking
    #[arg(long, value_name = "LAYER", default_value = "full")]
    pub layer: Layer,
    /// Print counts by rule as JSON to standard error at the end
    #[arg(long)]
    pub stats: bool,
}

/// Where masking happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layer {
    /// Card numbers, by exactly the algorithm that runs in the kernel
    Kernel,
    /// All rules, as the daemon applies them
    Full,
}

/// The arguments of `sensor flows`.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct Flows {
    /// What comes first: the greatest figure, or the alphabet
    #[arg(long, value_name = "WHAT", default_value = "sent")]
    pub sort: Sort,
    /// Print at most this many
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<usize>,
}

/// The order of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Bytes sent
    Sent,
    /// Bytes received
    Received,
    /// Segments sent again
    Retransmits,
    /// Round-trip time
    Rtt,
    /// Name of the local process
    Service,
    /// Name or place of the other end
    Peer,
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be more than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write it like 30s or 5m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    fn run(line: &str) -> Run {
        match parse(line).unwrap().command {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn all_arguments_of_run_are_read() {
        let bare = Run { config: None, listen: None, duration: None, print: vec![], logs: vec![] };
        assert_eq!(run("sensor run"), bare);
        let all = run(
            "sensor run --config a.yaml --listen [::]:0 --duration 1m30s --print spans,logs --logs 42 --logs app.py",
        );
        assert_eq!(all.config, Some("a.yaml".into()));
        assert_eq!(all.listen, Some("[::]:0".parse().unwrap()));
        assert_eq!(all.duration, Some(Duration::from_secs(90)));
        assert_eq!(all.print, [Print::Spans, Print::Logs]);
        assert_eq!(all.logs, [Choice::Pid(42), Choice::Command("app.py".to_owned())]);
    }

    #[test]
    fn flows_are_sorted_by_bytes_sent_unless_asked_otherwise() {
        let flows = |line: &str| parse(line).unwrap().command;
        assert_eq!(flows("sensor flows"), Command::Flows(Flows { sort: Sort::Sent, limit: None }));
        let asked = Flows { sort: Sort::Rtt, limit: Some(3) };
        assert_eq!(flows("sensor flows --sort rtt --limit 3"), Command::Flows(asked));
    }

    #[test]
    fn the_log_filter_may_stand_anywhere() {
        for line in ["sensor --log debug check", "sensor check --log debug"] {
            let args = parse(line).unwrap();
            assert_eq!(args.log.as_deref(), Some("debug"));
            assert_eq!(args.command, Command::Check(Check { config: None }));
        }
    }

    #[test]
    fn wrong_values_are_explained() {
        assert!(parse("sensor run --duration 30").unwrap_err().contains("write it like 30s or 5m"));
        assert!(parse("sensor run --duration 0s").unwrap_err().contains("more than nothing"));
        assert!(
            parse("sensor run --print everything").unwrap_err().contains("[possible values: spans, logs]")
        );
        assert!(parse("sensor run --listen 9464").is_err());
        assert!(parse("sensor walk").is_err());
    }
}
