//! `sensor mask`: standard input to standard output with the masking that runs here.

use std::borrow::Cow;
use std::io::{BufRead, ErrorKind, Write};

use sensor_common::mask::{State, in_place};

use super::args::{Layer, Mask};
use crate::config::Config;
use crate::mask::Masker;

/// Masks line by line until the input ends or nobody reads the output; with `--stats`, counts go to `stats` then.
///
/// # Errors
/// When the input cannot be read, or the output not written for another reason than that nobody reads it.
pub fn mask(
    args: &Mask,
    config: &Config,
    mut input: impl BufRead,
    mut output: impl Write,
    mut stats: impl Write,
) -> anyhow::Result<()> {
    let masker =
        Masker::new(&config.mask).map_err(|error| anyhow::anyhow!("{}: {}", error.name, error.allowed))?;
    let mut state = State::NEW;
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let clean = match args.layer {
            Layer::Kernel => {
                in_place(&mut line, &mut state, false);
                Cow::Borrowed(&line[..])
            }
            Layer::Full => {
                let (text, end) = match line.strip_suffix(b"\n") {
                    Some(text) => (text, &b"\n"[..]),
                    None => (&line[..], &b""[..]),
                };
                let mut clean = masker.bytes(text);
                if let Cow::Owned(clean) = &mut clean {
                    clean.extend_from_slice(end);
                    clean.clone().into()
                } else {
                    Cow::Borrowed(&line[..])
                }
            }
        };
        match output.write_all(&clean) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written?,
        }
    }
    match output.flush() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        flushed => flushed?,
    }
    if args.stats {
        let counts: serde_json::Map<_, _> = match args.layer {
            Layer::Kernel => [("card".to_owned(), state.masked.into())].into_iter().collect(),
            Layer::Full => {
                masker.counts().all().map(|(name, count)| (name.to_owned(), count.into())).collect()
            }
        };
        writeln!(stats, "{}", serde_json::Value::Object(counts))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(layer: Layer, input: &[u8]) -> (String, String) {
        let (mut output, mut stats) = (Vec::new(), Vec::new());
        let args = Mask { config: None, layer, stats: true };
        mask(&args, &Config::default(), input, &mut output, &mut stats).unwrap();
        (String::from_utf8_lossy(&output).into_owned(), String::from_utf8(stats).unwrap())
    }

    #[test]
    fn the_kernels_layer_masks_cards_alone() {
        let (output, stats) = run(Layer::Kernel, b"a 4111111111111111 b@c.example\n4111111111111111");
        assert_eq!(output, "a 411111******1111 b@c.example\n411111******1111");
        assert_eq!(stats, "{\"card\":2}\n");
    }

    #[test]
    fn the_full_layer_masks_all() {
        let (output, stats) = run(Layer::Full, b"a 4111111111111111 b@c.example\n\nplain\n");
        assert_eq!(output, "a 411111******1111 b***@c.example\n\nplain\n");
        let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
        assert_eq!((&stats["card"], &stats["email"], &stats["jwt"]), (&1.into(), &1.into(), &0.into()));
    }

    #[test]
    fn a_number_does_not_go_on_in_the_next_line() {
        assert_eq!(run(Layer::Kernel, b"41111111\n11111111\n").0, "41111111\n11111111\n");
    }
}
