//! Standard output, written by a thread of its own.
//!
//! A reader that is slow or stuck must not hold up the capture, so what is printed waits in a bounded queue; what
//! finds it full is dropped and counted. A reader that went away is not an error: nothing more is written.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;

/// Texts that may wait.
const QUEUE: usize = 256;
/// How often room is looked for in a full queue.
const ROOM_INTERVAL: Duration = Duration::from_millis(1);
/// The size of a terminal that does not tell its own.
const SIZE_DEFAULT: Size = Size { columns: 80, rows: 24 };

/// A terminal's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

impl Size {
    /// The size of the terminal at standard output.
    #[must_use]
    pub fn of_terminal() -> Self {
        let size = tcgetwinsize(io::stdout()).ok();
        match size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row))) {
            Some((columns, rows)) if columns > 0 && rows > 0 => Self { columns, rows },
            _ => SIZE_DEFAULT,
        }
    }

    /// Room for a frame: a line in the last column could wrap, and the cursor stands below the last line.
    #[must_use]
    pub const fn frame(self) -> Self {
        Self { columns: self.columns.saturating_sub(1), rows: self.rows.saturating_sub(1) }
    }
}

enum Text {
    /// Replaces the frame before it.
    Frame(String),
    /// Is appended.
    Lines(String),
}

/// A way to print without waiting.
pub struct Output {
    queue: SyncSender<Text>,
    done: Receiver<()>,
    closed: Arc<AtomicBool>,
    dropped: u64,
}

impl Output {
    /// Starts the thread that writes to `to`.
    #[must_use]
    pub fn new(to: impl Write + Send + 'static) -> Self {
        let (queue, texts) = mpsc::sync_channel(QUEUE);
        let (finished, done) = mpsc::channel();
        let closed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&closed);
        thread::spawn(move || {
            if let Err(error) = write(to, &texts) {
                flag.store(true, Ordering::Relaxed);
                if error.kind() != io::ErrorKind::BrokenPipe {
                    tracing::warn!(%error, "write to standard output failed, nothing more is printed");
                }
            }
            // Nobody may be waiting.
            let _ = finished.send(());
        });
        Self { queue, done, closed, dropped: 0 }
    }

    /// Draws a frame over the last one. Every line of it must fit the terminal.
    pub fn frame(&mut self, frame: String) {
        self.send(Text::Frame(frame));
    }

    /// Prints lines, each with its line feed.
    pub fn lines(&mut self, lines: String) {
        if !lines.is_empty() {
            self.send(Text::Lines(lines));
        }
    }

    /// Prints lines, and waits for room for them, at most for `patience`; says whether there was. Where nobody reads any
    /// more there is.
    pub fn lines_within(&mut self, lines: String, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut text = Text::Lines(lines);
        loop {
            match self.queue.try_send(text) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => return true,
                Err(TrySendError::Full(_)) if Instant::now() >= deadline => return false,
                Err(TrySendError::Full(back)) => text = back,
            }
            thread::sleep(ROOM_INTERVAL);
        }
    }

    /// Texts that were dropped because the queue was full.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether nobody reads any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Waits until all is written, at most for `timeout`; says whether it was.
    pub fn finish(self, timeout: Duration) -> bool {
        drop(self.queue);
        self.done.recv_timeout(timeout).is_ok() && !self.closed.load(Ordering::Relaxed)
    }

    fn send(&mut self, text: Text) {
        match self.queue.try_send(text) {
            // The thread ends when nobody reads any more.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.dropped += 1,
        }
    }
}

fn write(mut to: impl Write, texts: &Receiver<Text>) -> io::Result<()> {
    let mut height = 0;
    while let Ok(text) = texts.recv() {
        match text {
            Text::Lines(lines) => {
                height = 0;
                to.write_all(lines.as_bytes())?;
            }
            Text::Frame(frame) => {
                to.write_all(redraw(&frame, height).as_bytes())?;
                height = frame.lines().count();
            }
        }
        to.flush()?;
    }
    Ok(())
}

/// A frame with what puts it over one of `height` lines. The screen is not cleared and no other one is used, so what
/// was printed before stays where it can be scrolled to.
fn redraw(frame: &str, height: usize) -> String {
    let mut text = String::with_capacity(frame.len() + 128);
    if height > 0 {
        text.push_str(&format!("\x1b[{height}A\r"));
    }
    for line in frame.lines() {
        text.push_str(line);
        text.push_str("\x1b[K\n");
    }
    text.push_str("\x1b[J");
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A reader that went away.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A reader that does not read until it is told to.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error means that the test is over.
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_frame_is_drawn_over_the_last_one() {
        let kept = Kept::default();
        let mut output = Output::new(kept.clone());
        output.frame("a\nb\n".to_owned());
        output.frame("c\n".to_owned());
        output.frame("d\n".to_owned());
        output.lines("e\n".to_owned());
        output.frame("f\n".to_owned());
        assert!(output.finish(LONG));
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let expected = concat!(
            "a\x1b[K\nb\x1b[K\n\x1b[J",
            "\x1b[2A\rc\x1b[K\n\x1b[J",
            "\x1b[1A\rd\x1b[K\n\x1b[J",
            "e\n",
            "f\x1b[K\n\x1b[J",
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_reader_that_went_away_is_no_panic() {
        let mut output = Output::new(Gone);
        output.lines("a\n".to_owned());
        while !output.is_closed() {
            thread::yield_now();
        }
        output.lines("b\n".to_owned());
        assert_eq!(output.dropped(), 0);
        assert!(!output.finish(LONG));
    }

    #[test]
    fn a_stuck_reader_costs_texts_and_not_time() {
        let (go, wait) = mpsc::channel();
        let mut output = Output::new(Stuck(wait));
        for _ in 0..QUEUE + 10 {
            output.lines("a\n".to_owned());
        }
        // One text may be with the thread already.
        assert!((9..=10).contains(&output.dropped()), "{}", output.dropped());
        drop(go);
        assert!(output.finish(LONG));
    }

    #[test]
    fn a_size_is_never_nothing() {
        let size = Size::of_terminal();
        assert!(size.columns > 0 && size.rows > 0);
        assert_eq!(SIZE_DEFAULT.frame(), Size { columns: 79, rows: 23 });
    }
}
