//! Which lines go on with the record before them: stack traces of Java, .NET, Python and Go, and the two lines of
//! java.util.logging.

/// What a record is so far, as far as its next line depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing says that it goes on.
    Plain,
    /// The first line of `java.util.logging.SimpleFormatter`: a date, a class and a method.
    JulHeader,
    /// The category of a .NET console logger, whose message is indented.
    DotnetConsole,
    /// Names an exception: frames may follow.
    Header,
    /// Frames of Java or .NET.
    Frames,
    /// Within a Python traceback.
    Python,
    /// Behind the last line of a Python traceback.
    PythonEnd,
    /// The words between two Python tracebacks that belong together.
    PythonChain,
    /// A Go panic.
    Go,
}

impl State {
    /// Whether a line that comes in a later write may go on with the record.
    pub(super) const fn waits(self) -> bool {
        !matches!(self, Self::Plain)
    }

    /// The state of a record that starts with this line.
    pub(super) fn of_first(line: &str) -> Self {
        if is_traceback(line) {
            Self::Python
        } else if is_go_start(line) || is_goroutine(line) {
            Self::Go
        } else if is_frame(line) {
            Self::Frames
        } else if is_exception(line) {
            Self::Header
        } else if is_jul_header(line) {
            Self::JulHeader
        } else if is_dotnet_console(line) {
            Self::DotnetConsole
        } else {
            Self::Plain
        }
    }

    /// The state with one more line; `None` when the line starts a record of its own. `same_write`: both came in one
    /// write.
    pub(super) fn with(self, line: &str, same_write: bool) -> Option<Self> {
        match self {
            Self::Python if line.starts_with([' ', '\t']) => return Some(Self::Python),
            Self::Python if !line.is_empty() => return Some(Self::PythonEnd),
            Self::Python | Self::PythonEnd if line.is_empty() => return Some(Self::PythonEnd),
            Self::Python | Self::PythonEnd if is_python_chain(line) => return Some(Self::PythonChain),
            Self::PythonChain if line.is_empty() => return Some(Self::PythonChain),
            Self::PythonChain if is_traceback(line) => return Some(Self::Python),
            Self::Go if is_go(line) => return Some(Self::Go),
            Self::DotnetConsole if line.starts_with("      ") => return Some(Self::DotnetConsole),
            Self::JulHeader if is_jul_level(line) => return Some(Self::Plain),
            // `SimpleFormatter` ends an exception with a line feed, and its record with another.
            Self::Frames if same_write && line.is_empty() => return Some(Self::Plain),
            _ => {}
        }
        if is_frame(line) {
            return Some(Self::Frames);
        }
        // What a logger writes in one piece with its message.
        if same_write && is_traceback(line) {
            return Some(Self::Python);
        }
        if same_write && is_goroutine(line) {
            return Some(Self::Go);
        }
        None
    }
}

/// A frame, or what stands between frames: Java's `Throwable.printStackTrace`, .NET's `Exception.ToString`.
pub(super) fn is_frame(line: &str) -> bool {
    let trimmed = line.trim_start();
    if trimmed.starts_with("Caused by: ") {
        return true;
    }
    if trimmed.len() == line.len() {
        return false;
    }
    trimmed.starts_with("at ")
        || trimmed.starts_with("Suppressed: ")
        || trimmed.starts_with("---> ")
        || trimmed.starts_with("--- End of ")
        || (trimmed.starts_with("... ") && (trimmed.ends_with(" more") || trimmed.ends_with(" omitted")))
}

/// A line that names an exception of Java or .NET: `a.b.SomeException: message`, also behind
/// `Exception in thread "…" ` and `Unhandled exception. `.
pub(super) fn is_exception(line: &str) -> bool {
    let name = line
        .strip_prefix("Exception in thread \"")
        .and_then(|rest| rest.split_once("\" "))
        .map_or(line, |(_, rest)| rest);
    let name = name.strip_prefix("Unhandled exception. ").unwrap_or(name);
    let end = name.find([':', ' ']).unwrap_or(name.len());
    let name = &name[..end];
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'$' | b'_' | b'`'))
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && ["Exception", "Error", "Throwable"].iter().any(|ending| name.ends_with(ending))
}

fn is_traceback(line: &str) -> bool {
    line.trim_start_matches(['+', ' ', '|']).contains("Traceback (most recent call last):")
}

fn is_python_chain(line: &str) -> bool {
    line == "During handling of the above exception, another exception occurred:"
        || line == "The above exception was the direct cause of the following exception:"
}

fn is_go_start(line: &str) -> bool {
    line.starts_with("panic: ") || line.starts_with("fatal error: ")
}

fn is_goroutine(line: &str) -> bool {
    line.starts_with("goroutine ") && line.ends_with("]:")
}

/// What `runtime.printpanics` and `runtime.traceback` print.
fn is_go(line: &str) -> bool {
    line.is_empty()
        || line.starts_with('\t')
        || is_goroutine(line)
        || is_go_start(line)
        || line.starts_with("created by ")
        || line.starts_with("[signal ")
        || line.starts_with("exit status ")
        || (line.ends_with(')') && line.contains('(') && !line.contains(' '))
        || line.ends_with("(...)")
}

/// `Nov 23, 2026 10:00:00 PM com.lionpay.Pay handle`: from JDK 20 on with a narrow space before the half of the day.
fn is_jul_header(line: &str) -> bool {
    let bytes = line.as_bytes();
    bytes.len() > 24
        && bytes[0].is_ascii_uppercase()
        && bytes[1..3].iter().all(u8::is_ascii_lowercase)
        && bytes[3] == b' '
        && bytes[4].is_ascii_digit()
        && (line.contains("AM ") || line.contains("PM "))
}

fn is_jul_level(line: &str) -> bool {
    ["SEVERE: ", "WARNING: ", "INFO: ", "CONFIG: ", "FINE: ", "FINER: ", "FINEST: "]
        .iter()
        .any(|level| line.starts_with(level))
}

fn is_dotnet_console(line: &str) -> bool {
    ["trce: ", "dbug: ", "info: ", "warn: ", "fail: ", "crit: "].iter().any(|level| line.starts_with(level))
        && line.ends_with(']')
}
