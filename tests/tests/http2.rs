//! HTTP/2 with prior knowledge: every request is one exchange, with its path and status.

use tests::calls::{Calls, Role, calls};
use tests::http2::{Http2Server, h2load};
use tests::sensor::Sensor;
use tests::server::{Kind, Server};

/// 100 streams on each of 10 connections, with bodies from none to a megabyte.
#[test]
fn many_streams() {
    let sensor = Sensor::start();
    let server = Http2Server::nghttpd();
    h2load(&server, &["/a", "/page", "/big", "/missing"], 2000, None);
    let each =
        [("GET /a 200", 500), ("GET /page 200", 500), ("GET /big 200", 500), ("GET /missing 404", 500)];
    sensor.expect_both(server.port, &calls(&each));
    assert_eq!(sensor.lost(), Calls::new());
}

#[test]
fn many_uploads() {
    let sensor = Sensor::start();
    let server = Http2Server::nghttpd();
    h2load(&server, &["/a"], 1000, Some(&server.file("page")));
    sensor.expect_both(server.port, &calls(&[("POST /a 200", 1000)]));
    let spans = sensor.expect_spans(Role::Server, server.port, 1000);
    assert!(spans.iter().all(|span| span.attribute("http.request.body.size") == "16384"));
    assert_eq!(sensor.lost(), Calls::new());
}

/// The proxy speaks HTTP/2 to its clients and HTTP/1 to the server behind it.
#[test]
fn a_proxy() {
    let sensor = Sensor::start();
    let behind = Server::start(Kind::Nginx);
    let proxy = Http2Server::nghttpx(behind.port);
    h2load(&proxy, &["/", "/items/1", "/missing"], 900, None);
    let each = calls(&[("GET / 200", 300), ("GET /items/{id} 200", 300), ("GET /missing 404", 300)]);
    sensor.expect_both(proxy.port, &each);
    sensor.expect_both(behind.port, &each);
    assert_eq!(sensor.service(Role::Server, proxy.port), "nghttpx");
    assert_eq!(sensor.lost(), Calls::new());
}

/// A connection that is older than the sensor: what is in its header tables is not known, all else is.
#[test]
fn a_connection_joined_in_the_middle() {
    let server = Http2Server::nghttpd();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
    let mut client = runtime.block_on(Client::connect(server.port));
    runtime.block_on(client.get("/a", 3));
    let sensor = Sensor::start();
    runtime.block_on(client.get("/a", 5));
    runtime.block_on(client.get("/page", 4));
    // The client spells each path out, but not the authority.
    sensor.expect_both(server.port, &calls(&[("GET /a 200", 5), ("GET /page 200", 4)]));
    assert_eq!(sensor.lost(), Calls::new());
    for span in sensor.expect_spans(Role::Server, server.port, 9) {
        assert_eq!(
            (span.attribute("http.response.status_code"), span.attribute("network.protocol.version")),
            ("200", "2")
        );
    }
}

/// One connection of the crate `h2`.
struct Client {
    sender: h2::client::SendRequest<bytes::Bytes>,
    port: u16,
}

impl Client {
    async fn connect(port: u16) -> Self {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connect");
        let (sender, connection) = h2::client::handshake(stream).await.expect("shake hands");
        tokio::spawn(connection);
        Self { sender, port }
    }

    /// Asks one request after the other.
    async fn get(&mut self, path: &str, times: usize) {
        for _ in 0..times {
            let uri = format!("http://127.0.0.1:{}{path}", self.port);
            let request = http::Request::builder().uri(uri).body(()).expect("a request");
            self.sender = self.sender.clone().ready().await.expect("a stream");
            let (answer, _) = self.sender.send_request(request, true).expect("send");
            let mut body = answer.await.expect("an answer").into_body();
            while let Some(data) = body.data().await {
                let length = data.expect("data").len();
                body.flow_control().release_capacity(length).expect("release");
            }
        }
    }
}
