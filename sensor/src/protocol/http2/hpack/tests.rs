//! The public HPACK test stories, and readers that have missed something.

use serde_json::Value;

use super::*;

/// From <https://github.com/http2jp/hpack-test-case>; its licence is beside them.
const STORIES: [(&str, &str); 8] = [
    ("nghttp2", include_str!("stories/nghttp2.json")),
    ("nghttp2, tables that change size", include_str!("stories/nghttp2-change-table-size.json")),
    ("nghttp2, table of 16384", include_str!("stories/nghttp2-16384-4096.json")),
    ("Go", include_str!("stories/go-hpack.json")),
    ("Python", include_str!("stories/python-hpack.json")),
    ("Node", include_str!("stories/node-http2-hpack.json")),
    ("Haskell", include_str!("stories/haskell-http2-linear-huffman.json")),
    ("Swift", include_str!("stories/swift-nio-hpack-huffman.json")),
];

type Lines = Vec<(Option<String>, Option<String>)>;

fn lines(decoder: &mut Decoder, block: &[u8]) -> Result<Lines, Malformed> {
    let mut lines = Vec::new();
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    decoder.read(block, false, |field| lines.push((text(field.name), text(field.value))))?;
    Ok(lines)
}

/// The blocks of a story, each with its header list.
fn story(text: &str) -> Vec<(Vec<u8>, Lines)> {
    let story: Value = serde_json::from_str(text).unwrap();
    let case = |case: &Value| {
        let wire = case["wire"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&wire[at..at + 2], 16).unwrap();
        let block = (0..wire.len()).step_by(2).map(byte).collect();
        let fields = case["headers"].as_array().unwrap().iter().flat_map(|field| field.as_object().unwrap());
        let fields = fields.map(|(name, value)| (Some(name.clone()), value.as_str().map(str::to_owned)));
        (block, fields.collect())
    };
    story["cases"].as_array().unwrap().iter().map(case).collect()
}

#[test]
fn the_public_stories_are_read() {
    for (name, text) in STORIES {
        let mut decoder = Decoder::new();
        let cases = story(text);
        assert!(!cases.is_empty(), "{name}");
        for (number, (block, fields)) in cases.iter().enumerate() {
            assert_eq!(lines(&mut decoder, block).as_ref(), Ok(fields), "{name}, {number}");
        }
    }
}

/// Whoever joins a story at any of its blocks, or has missed one, knows less, but nothing wrong.
#[test]
fn what_was_missed_is_never_guessed() {
    let mut unknown = 0;
    for (name, text) in STORIES {
        let cases = story(text);
        for missed in 0..cases.len() {
            let mut decoder = Decoder::new();
            for (number, (block, fields)) in cases.iter().enumerate() {
                if number == missed {
                    decoder.forget();
                    continue;
                }
                let read = lines(&mut decoder, block).unwrap();
                assert_eq!(read.len(), fields.len(), "{name}, {number} without {missed}");
                for (read, field) in read.iter().zip(fields) {
                    assert!(read.0.is_none() || read.0 == field.0, "{name}: {read:?} for {field:?}");
                    assert!(read.1.is_none() || read.1 == field.1, "{name}: {read:?} for {field:?}");
                    unknown += usize::from(read.1.is_none());
                }
            }
        }
    }
    assert!(unknown > 0);
}

#[test]
fn a_cut_block_is_read_as_far_as_it_goes() {
    let mut decoder = Decoder::new();
    let mut names = Vec::new();
    // :method GET, :path with incremental indexing, cut in its value.
    let read = decoder
        .read(&[0x82, 0x44, 0x05, b'/', b'a'], true, |field| names.push(field.name.map(<[u8]>::to_vec)));
    assert_eq!((read, names), (Ok(()), vec![Some(b":method".to_vec())]));
    assert_eq!(lines(&mut decoder, &[0xbe]), Ok(vec![(None, None)]));
}

#[test]
fn rubbish_is_refused() {
    for block in
        [&[0x80][..], &[0x40, 0x01], &[0x00, 0x81, 0xff, 0x00], &[0x44, 0xff, 0xff, 0xff, 0xff, 0xff]]
    {
        assert_eq!(lines(&mut Decoder::new(), block), Err(Malformed), "{block:x?}");
    }
}

#[test]
fn the_table_is_bounded() {
    let mut decoder = Decoder::new();
    // A size of 1 GiB would be refused, one of 1 MiB is not followed.
    assert_eq!(lines(&mut decoder, &[0x3f, 0xe1, 0xff, 0x3f]), Ok(vec![]));
    for _ in 0..10_000 {
        lines(&mut decoder, &[0x40, 0x01, b'a', 0x01, b'b']).unwrap();
    }
    assert!(decoder.size <= TABLE_LIMIT && decoder.entries.len() <= TABLE_LIMIT / ENTRY_OVERHEAD);
}
