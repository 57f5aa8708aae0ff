//! The programs that write.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::command;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// A loop around `write`: nothing is done but to write.
    EachLine,
    /// The same lines through a buffer of 8 KiB.
    Buffered,
    /// Python's `logging`, a write a line.
    Python,
    /// `java.util.logging`, a write a line.
    Java,
}

/// Their programs, which the sensor follows.
pub(in crate::bench) const NAMES: [&str; 4] =
    ["line-writer.pl", "block-writer.pl", "line-logger.py", "LineLogger"];

/// Bytes of a line, its line feed with them.
pub(super) const WIDTH: usize = 200;

// Each tells the seconds that it took in its first argument's file.
const PERL: &str = r#"use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);
my ($path, $count, $width, $buffered) = @ARGV;
my $start = clock_gettime(CLOCK_MONOTONIC);
for my $number (1 .. $count) {
    my $line = sprintf('%d ', $number);
    $line .= 'x' x ($width - 1 - length $line) . "\n";
    if ($buffered) { print $line } else { syswrite STDOUT, $line }
}
$| = 1; print '';
my $end = clock_gettime(CLOCK_MONOTONIC);
open my $file, '>', $path or die; print $file $end - $start; close $file;
"#;
const PYTHON: &str = "
import logging, sys, time
path, count, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format='%(asctime)s %(levelname)s %(name)s %(message)s')
logger = logging.getLogger('shop')
text = 'x' * (width - 43)
start = time.monotonic()
for number in range(count):
    logger.info('%d %s', 1000000 + number, text)
open(path, 'w').write(str(time.monotonic() - start))
";
const JAVA: &str = r#"import java.nio.file.*;
import java.util.logging.Logger;

public class LineLogger {
    public static void main(String[] arguments) throws Exception {
        int count = Integer.parseInt(arguments[1]);
        Logger logger = Logger.getLogger("shop");
        String text = "x".repeat(Integer.parseInt(arguments[2]) - 43);
        long start = System.nanoTime();
        for (int number = 0; number < count; number++) {
            logger.info((1000000 + number) + " " + text);
        }
        Files.writeString(Path.of(arguments[0]), String.valueOf((System.nanoTime() - start) / 1e9));
    }
}
"#;
const FORMAT: &str = "-Djava.util.logging.SimpleFormatter.format=%1$tF %1$tT,%1$tL %4$s %3$s %5$s%n";

/// Writes and compiles the programs.
pub(super) fn prepare(directory: &Path) -> Result<()> {
    for (name, text) in
        NAMES.into_iter().zip([PERL, PERL, PYTHON, JAVA]).map(|(name, text)| (file(name), text))
    {
        fs::write(directory.join(&name), text).with_context(|| format!("cannot write {name}"))?;
    }
    let mut compiler = Command::new("javac");
    command::clean(&mut compiler);
    command::output(compiler.arg("LineLogger.java").current_dir(directory)).map(drop)
}

fn file(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.java") }
}

impl Writer {
    pub(super) const ALL: [Self; 4] = [Self::EachLine, Self::Buffered, Self::Python, Self::Java];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EachLine => "a write a line, nothing else",
            Self::Buffered => "a write of 8 KiB, nothing else",
            Self::Python => "Python, `logging`",
            Self::Java => "Java, `java.util.logging`",
        }
    }

    /// How many lines it writes.
    pub(super) fn lines(self) -> u64 {
        match self {
            Self::EachLine | Self::Buffered => 1_000_000,
            Self::Python => 200_000,
            Self::Java => 500_000,
        }
    }

    /// Runs it, its standard output a pipe that `wc` reads; lines a second.
    pub(super) fn run(self, directory: &Path) -> Result<f64> {
        let name = NAMES[self as usize];
        let words: Vec<String> = match self {
            Self::EachLine | Self::Buffered => vec!["perl".to_owned(), file(name)],
            Self::Python => vec!["python3".to_owned(), file(name)],
            Self::Java => ["java", FORMAT, "-cp", ".", name].map(str::to_owned).to_vec(),
        };
        let mut command = Command::new(&words[0]);
        command::clean(&mut command);
        command.args(&words[1..]).args(["seconds", &self.lines().to_string(), &WIDTH.to_string()]);
        if self == Self::Buffered {
            command.arg("buffered");
        }
        // A logger of Java writes to standard error.
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        command.current_dir(directory).stdin(Stdio::null());
        command.stderr(writer.try_clone().context("cannot copy a pipe")?).stdout(writer);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", words[0]))?;
        // It holds the writing ends; with them open the reader would never see the end.
        drop(command);
        let counted = command::output(Command::new("wc").args(["-lc"]).stdin(reader))?;
        let status = child.wait().context("cannot wait for a writer")?;
        ensure!(status.success(), "{name} ended with {status}");
        let expected = [self.lines(), self.lines() * WIDTH as u64].map(|count| count.to_string());
        ensure!(counted.split_whitespace().eq(&expected), "{name} wrote {counted}, not {expected:?}");
        let path = directory.join("seconds");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let seconds: f64 = text.trim().parse().with_context(|| format!("{name} told {text:?}"))?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 lines")]
        Ok(self.lines() as f64 / seconds)
    }
}
