use std::vec::Vec;

use super::*;

/// An operation of these bytes alone.
fn spoken(bytes: &[u8]) -> Option<Spoken> {
    let mut first = [0; FIRST_BYTES + 8];
    let seen = bytes.len().min(FIRST_BYTES);
    first[..seen].copy_from_slice(&bytes[..seen]);
    let (words, _) = first.as_chunks::<8>();
    let words = core::array::from_fn(|index| u64::from_le_bytes(words[index]));
    NetworkProtocol::of(words, u32::try_from(bytes.len()).unwrap())
}

fn of(bytes: &[u8]) -> Option<NetworkProtocol> {
    spoken(bytes).map(|spoken| spoken.protocol)
}

fn kafka(name: &[u8]) -> Vec<u8> {
    let mut request = Vec::from([0, 18, 0, 3, 0, 0, 0, 1]);
    request.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
    request.extend_from_slice(name);
    request.extend([0, 0]);
    let mut bytes = Vec::from(u32::try_from(request.len()).unwrap().to_be_bytes());
    bytes.extend(request);
    bytes
}

fn mongodb(code: u32, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(16 + body.len()).unwrap();
    let mut bytes: Vec<u8> = [size, 7, 0, code].into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend_from_slice(body);
    bytes
}

/// A packet of MySQL: what it holds behind its number in the sequence.
fn mysql(sequence: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::from(u32::try_from(body.len()).unwrap().to_le_bytes());
    bytes[3] = sequence;
    bytes.extend_from_slice(body);
    bytes
}

fn greeting(version: &[u8]) -> Vec<u8> {
    mysql(0, &[&[10], version, &[0; 30]].concat())
}

/// The answer to a greeting, with so many bytes behind its filler.
fn answer(more: usize) -> Vec<u8> {
    let mut body = Vec::from([0x8d, 0xa2, 0x0f, 0, 0, 0, 0, 1, 45]);
    body.extend([0; 23]);
    body.extend(core::iter::repeat_n(b'a', more));
    mysql(1, &body)
}

#[test]
fn each_is_known_by_its_first_message() {
    let startup = b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0";
    for (bytes, protocol) in [
        (&b"AMQP\0\0\x09\x01"[..], NetworkProtocol::Amqp),
        (b"AMQP\x03\x01\0\0", NetworkProtocol::Amqp),
        (b"\x01\0\0\0\0\x01\xff\0\x0a\0\x0a\0\x09\0\0\x01", NetworkProtocol::Amqp),
        (&kafka(b"rdkafka"), NetworkProtocol::Kafka),
        (&kafka(b"consumer-orders_1.the-first one"), NetworkProtocol::Kafka),
        (&mongodb(2013, &[0; 20]), NetworkProtocol::Mongodb),
        (&mongodb(2004, b"\0\0\0\0admin.$cmd\0\0\0\0\0"), NetworkProtocol::Mongodb),
        (&greeting(b"8.0.36"), NetworkProtocol::Mysql),
        (&greeting(b"10.11.6-MariaDB"), NetworkProtocol::Mysql),
        (&answer(0), NetworkProtocol::Mysql),
        (&answer(40), NetworkProtocol::Mysql),
        (b"\x09\0\0\0\x03SELECT 1", NetworkProtocol::Mysql),
        (startup, NetworkProtocol::Postgresql),
        (b"\0\0\0\x08\x04\xd2\x16\x2f", NetworkProtocol::Postgresql),
        (b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02", NetworkProtocol::Postgresql),
        (b"Q\0\0\0\x0eSELECT 1;\0", NetworkProtocol::Postgresql),
        (b"Q\0\0\0\x1fSELECT 'of more than that'\0", NetworkProtocol::Postgresql),
        (b"R\0\0\0\x08\0\0\0\0", NetworkProtocol::Postgresql),
        (b"*1\r\n$4\r\nPING\r\n", NetworkProtocol::Redis),
        (b"*12\r\n$4\r\nMGET\r\n$1\r\na\r\n", NetworkProtocol::Redis),
        (b"*999\r\n$12\r\nZUNIONSTORE.\r\n", NetworkProtocol::Redis),
    ] {
        assert_eq!(of(bytes), Some(protocol), "{bytes:?}");
    }
}

#[test]
fn what_may_turn_into_tls() {
    for (bytes, may) in [
        (&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], true),
        (b"Q\0\0\0\x0eSELECT 1;\0", false),
        (&greeting(b"8.0.36"), true),
        (&answer(0), true),
        (&answer(1), false),
        (b"AMQP\x02\x01\0\0", true),
        (b"AMQP\0\0\x09\x01", false),
    ] {
        assert_eq!(spoken(bytes).map(|spoken| spoken.may_become_tls), Some(may), "{bytes:?}");
    }
}

#[test]
fn anything_else_has_no_name() {
    for bytes in [
        &b""[..],
        b"*",
        b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0d\0\x04\0\0\xff\xff",
        b"AMQP\x09\x09\x09\x09",
        b"*0\r\n$1\r\n",
        b"*01\r\n$1\r\n",
        b"*2\r\n:1\r\n",
        b"*2\r\n$a\r\n",
        b"*\xb2\r\n$1\r\n",
        b"+OK\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail ESMTP\r\n",
        b"Q\0\0\0\x0eSELECT 1;",
        b"Q\0\0\0\x0eSEL\0CT 1;\0",
        b"Q\0\0\0\x0eSELECT\x011;\0",
        b"Quit\r\n",
        b"\x16\x03\x01\x02\0\x0b",
        b"\x09\0\0\x01\x03SELECT 1",
        &kafka(b"bad\0name"),
        &kafka(b"a name so bad\xff"),
        &kafka(b""),
        &mongodb(2013, &[0xff; 20]),
        &mongodb(1, &[0; 20]),
        &greeting(b"no version"),
        &[0; 64],
        &[0xff; 64],
    ] {
        assert_eq!(of(bytes), None, "{bytes:?}");
    }
}

#[test]
fn numbers_are_their_own() {
    for protocol in NetworkProtocol::ALL {
        assert_eq!(NetworkProtocol::numbered(protocol as u16), Some(protocol));
        let named = NetworkProtocol::ALL.into_iter().filter(|other| other.name() == protocol.name());
        assert_eq!(named.count(), 1);
    }
    assert_eq!(NetworkProtocol::numbered(0), None);
}
