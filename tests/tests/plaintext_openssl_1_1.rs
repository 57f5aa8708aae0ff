//! What is inside TLS of OpenSSL 1.1, as in `plaintext`: as a library, and built into a program.

use tests::calls::Calls;
use tests::https::Nginx;
use tests::installed::{debian_11, node_16};
use tests::plaintext::{Node, expect_node, expect_python, sensor, untold};

/// Two programs of one library, which has the socket.
#[test]
fn a_hundred_connections_of_python_and_nginx() {
    let server = Nginx::start_as(&mut debian_11("usr/sbin/nginx"), "TLSv1.2 TLSv1.3");
    let sensor = sensor();
    expect_python(&sensor, &server, &mut debian_11("usr/bin/python3.9"));
    assert_eq!(untold(&sensor), Calls::new());
}

/// It never touches a socket.
#[test]
fn a_hundred_connections_of_node() {
    let server = Node::start(&mut node_16());
    let sensor = sensor();
    expect_node(&sensor, &server, &mut node_16());
    assert_eq!(untold(&sensor), Calls::new());
}
