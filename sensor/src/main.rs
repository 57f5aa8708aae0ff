//! The node sensor: command line in, exit status out.

use std::process::ExitCode;

use clap::Parser;
use sensor::{
    capture::CaptureError,
    cli::{
        args::{Args, Command},
        check, flows, log, mask, run,
    },
    config::{Config, ConfigError},
};

/// The command line or the configuration is wrong (`EX_USAGE` of `sysexits.h`).
const USAGE: u8 = 64;
/// The kernel, or what this process may do with it, is not enough (`EX_CONFIG`).
const UNSUPPORTED: u8 = 78;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // `--help` and `--version` come as errors that print to standard output.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match start(&args) {
        Ok(code) => code,
        Err(error) => {
            report(&error);
            ExitCode::from(status(&error))
        }
    }
}

fn start(args: &Args) -> anyhow::Result<ExitCode> {
    let path = match &args.command {
        Command::Run(run) => run.config.as_deref(),
        Command::Check(check) => check.config.as_deref(),
        Command::Mask(mask) => mask.config.as_deref(),
        Command::Flows(_) => None,
    };
    let mut config = Config::load(path)?;
    if let Some(filter) = &args.log {
        config.log.clone_from(filter);
        config.validate()?;
    }
    log::start(&config.log)?;
    match &args.command {
        Command::Run(args) => {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(run::run(args, config))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Mask(args) => {
            let output = std::io::BufWriter::new(std::io::stdout().lock());
            mask::mask(args, &config, std::io::stdin().lock(), output, std::io::stderr().lock())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Flows(args) => {
            flows::flows(args, &mut std::io::stdout().lock())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(_) => {
            let starts = check::check(&config, &mut std::io::stdout().lock())?;
            Ok(if starts { ExitCode::SUCCESS } else { ExitCode::from(UNSUPPORTED) })
        }
    }
}

/// Prints the error with its causes, but none twice: many say theirs themselves.
fn report(error: &anyhow::Error) {
    use std::io::Write as _;
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    let _ = writeln!(std::io::stderr().lock(), "sensor: {text}");
}

fn status(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        return USAGE;
    }
    match error.downcast_ref::<CaptureError>() {
        Some(CaptureError::Btf(_) | CaptureError::Unsupported(_) | CaptureError::NoPrivilege(_)) => {
            UNSUPPORTED
        }
        _ => 1,
    }
}
