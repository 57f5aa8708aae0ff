//! TLS, an own CA, HTTP/2 and proxies.

use hyper::Version;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::server::{Reply, Server};
use super::*;

/// A server's side of TLS for `name`, and its CA in PEM form.
fn tls(name: &str) -> (TlsAcceptor, String) {
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), ca.pem())
}

fn https(server: &Server, ca_file: Option<std::path::PathBuf>) -> Connection {
    let url = format!("https://localhost:{}/", server.address.port());
    Connection { ca_file, ..connection(&url) }
}

#[tokio::test]
async fn an_own_ca_is_trusted_and_http_2_spoken() {
    let (acceptor, pem) = tls("localhost");
    let server = Server::start_with(Some(acceptor), |_, _| Reply::status(204)).await;
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let store = open(directory.path(), Signal::Logs);
    let run = Run::to(&store, Wire::Loki, https(&server, Some(ca)));
    for _ in 0..3 {
        store.accept(lines(1), 1);
    }
    run.drained().await;
    let got = server.got();
    assert!(got.iter().all(|request| request.version == Version::HTTP_2));
    assert!(got.iter().all(|request| request.connection == got[0].connection), "one connection for all");
    run.stop().await;
}

#[tokio::test]
async fn nobody_else_is_trusted_and_nothing_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    // The certificate of another CA, and one of another name.
    for (acceptor, pem) in [(tls("localhost").0, tls("localhost").1), tls("elsewhere.example")] {
        std::fs::write(&ca, pem).unwrap();
        let server = Server::start_with(Some(acceptor), |_, _| Reply::status(204)).await;
        let store = open(&directory.path().join(server.address.port().to_string()), Signal::Logs);
        let run = Run::to(&store, Wire::Loki, https(&server, Some(ca.clone())));
        store.accept(lines(1), 1);
        run.until("a failure", || run.stats.last().error.is_some()).await;
        let error = run.stats.last().error.unwrap();
        assert!(error.contains("certificate"), "{error}");
        assert_eq!((server.got().len(), store.depth(0).waiting, run.refused()), (0, 1, 0));
        run.stop().await;
    }
}

#[tokio::test]
async fn a_private_endpoint_is_connected_to_and_must_be_who_the_url_says() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    for (certified, is_trusted) in [("metrics.example", true), ("localhost", false)] {
        let (acceptor, pem) = tls(certified);
        std::fs::write(&ca, pem).unwrap();
        let server = Server::start_with(Some(acceptor), |_, _| Reply::status(204)).await;
        let host = format!("metrics.example:{}", server.address.port());
        let store = open(&directory.path().join(certified), Signal::Logs);
        let private = Connection {
            connect_to: Some("localhost".to_owned()),
            ca_file: Some(ca.clone()),
            ..connection(&format!("https://{host}/"))
        };
        let run = Run::to(&store, Wire::Loki, private);
        store.accept(lines(1), 1);
        if is_trusted {
            run.drained().await;
            assert_eq!(server.got()[0].authority, host);
        } else {
            run.until("a failure", || run.stats.last().error.is_some()).await;
            assert_eq!(server.got().len(), 0);
        }
        run.stop().await;
    }
}

#[tokio::test]
async fn a_proxy_is_used() {
    let (acceptor, pem) = tls("localhost");
    let server = Server::start_with(Some(acceptor), |_, _| Reply::status(204)).await;
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(tunnel(listener));
    let store = open(directory.path(), Signal::Logs);
    let through = Connection { proxy: Some(proxy.parse().unwrap()), ..https(&server, Some(ca)) };
    let run = Run::to(&store, Wire::Loki, through);
    store.accept(lines(1), 1);
    run.drained().await;
    assert_eq!(server.got().len(), 1);
    run.stop().await;
    let asked = asked.await.unwrap();
    assert_eq!(asked, format!("CONNECT localhost:{} HTTP/1.1\r\n", server.address.port()));
}

/// A proxy for one connection; tells what it was asked for.
async fn tunnel(listener: TcpListener) -> String {
    let (stream, _) = listener.accept().await.unwrap();
    let mut client = BufReader::new(stream);
    let mut asked = String::new();
    client.read_line(&mut asked).await.unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        client.read_line(&mut line).await.unwrap();
    }
    let target = asked.split(' ').nth(1).unwrap();
    let mut server = TcpStream::connect(target).await.unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // It ends when either side closes.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    asked
}
