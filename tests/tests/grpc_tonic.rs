//! gRPC by tonic, with itself and with grpcio: all kinds of calls, as in `grpc`. Both ends of tonic's are in this process.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::{Ipv4Addr, TcpListener};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use tempfile::TempDir;
use tests::grpc::{self, By, TIMES, expect_messages, expect_round};
use tests::process::Process;
use tests::sensor::Sensor;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::StreamExt as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::{Service, service_fn};

/// How long a client waits for what never comes.
const DEADLINE: Duration = Duration::from_millis(50);

/// A message is its bytes.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

type Body = tonic::body::Body;
type Answer = Result<Response<Vec<u8>>, Status>;

/// What `grpc_server.py` does.
#[derive(Clone, Copy)]
struct Shop;

impl Service<http::Request<Body>> for Shop {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(answer(request).await) })
    }
}

async fn answer(request: http::Request<Body>) -> http::Response<Body> {
    let mut grpc = tonic::server::Grpc::new(Plain);
    let path = request.uri().path().to_owned();
    match path.strip_prefix("/test.Shop/") {
        Some("Unary") => {
            let echo = |request: Request<Vec<u8>>| async { Answer::Ok(Response::new(request.into_inner())) };
            grpc.unary(service_fn(echo), request).await
        }
        Some("Fail") => {
            let fail = |_: Request<Vec<u8>>| async { Answer::Err(Status::not_found("no such thing")) };
            grpc.unary(service_fn(fail), request).await
        }
        Some("Never") => {
            let never = |_: Request<Vec<u8>>| pending::<Answer>();
            grpc.unary(service_fn(never), request).await
        }
        Some("ServerStream") => {
            let three = |request: Request<Vec<u8>>| async move {
                let message = request.into_inner();
                let each = (0..3).map(move |number| Ok([&message[..], &[number]].concat()));
                Ok::<_, Status>(Response::new(tokio_stream::iter(each)))
            };
            grpc.server_streaming(service_fn(three), request).await
        }
        Some("Endless") => {
            let endless = |request: Request<Vec<u8>>| async move {
                let first = tokio_stream::once(Ok(request.into_inner()));
                Ok::<_, Status>(Response::new(first.chain(tokio_stream::pending())))
            };
            grpc.server_streaming(service_fn(endless), request).await
        }
        Some("ClientStream") => {
            let join = |request: Request<Streaming<Vec<u8>>>| async move {
                let messages: Vec<Vec<u8>> = request.into_inner().collect::<Result<_, _>>().await?;
                Answer::Ok(Response::new(messages.concat()))
            };
            grpc.client_streaming(service_fn(join), request).await
        }
        Some("BothStreams") => {
            let echo = |request: Request<Streaming<Vec<u8>>>| async move {
                Ok::<_, Status>(Response::new(request.into_inner()))
            };
            grpc.streaming(service_fn(echo), request).await
        }
        _ => Status::unimplemented("no such method").into_http(),
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("make a runtime")
}

/// The server; it ends with the runtime.
fn serve(runtime: &Runtime) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a port");
    let port = listener.local_addr().expect("the bound address").port();
    listener.set_nonblocking(true).expect("make it nonblocking");
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("take the listener");
        Server::builder().serve_with_incoming(Shop, TcpIncoming::from(listener)).await.expect("serve");
    });
    port
}

/// What `grpc_client.py` does: a round of each call so many times.
async fn call_all(port: u16, times: u64) {
    let address = format!("http://127.0.0.1:{port}");
    let channel = Channel::from_shared(address).expect("an address").connect().await.expect("connect");
    let mut client = tonic::client::Grpc::new(channel);
    let path = |method| PathAndQuery::from_static(method);
    let hello = || Request::new(b"hello".to_vec());
    let messages = || vec![b"one".to_vec(), b"two".repeat(1000), vec![b'x'; 100_000]];
    for _ in 0..times {
        client.ready().await.expect("a connection");
        let told = client.unary(hello(), path("/test.Shop/Unary"), Plain).await;
        assert_eq!(told.expect("an answer").into_inner(), b"hello");
        for (method, code) in
            [("/test.Shop/Fail", Code::NotFound), ("/test.Shop/Nothing", Code::Unimplemented)]
        {
            client.ready().await.expect("a connection");
            let told: Answer = client.unary(hello(), path(method), Plain).await;
            assert_eq!(told.expect_err("a failure").code(), code);
        }
        client.ready().await.expect("a connection");
        let told = client.server_streaming(hello(), path("/test.Shop/ServerStream"), Plain).await;
        let told: Vec<Vec<u8>> =
            told.expect("a stream").into_inner().map(|message| message.expect("one")).collect().await;
        assert_eq!(told.len(), 3);
        client.ready().await.expect("a connection");
        let sent = Request::new(tokio_stream::iter(messages()));
        let told = client.client_streaming(sent, path("/test.Shop/ClientStream"), Plain).await;
        assert!(told.expect("an answer").into_inner() == messages().concat());
        client.ready().await.expect("a connection");
        let sent = Request::new(tokio_stream::iter(messages()));
        let told = client.streaming(sent, path("/test.Shop/BothStreams"), Plain).await;
        let told: Vec<Vec<u8>> =
            told.expect("a stream").into_inner().map(|message| message.expect("one")).collect().await;
        assert!(told == messages());
        client.ready().await.expect("a connection");
        let told = client.server_streaming(hello(), path("/test.Shop/Endless"), Plain).await;
        let mut endless: Streaming<Vec<u8>> = told.expect("a stream").into_inner();
        assert!(endless.message().await.expect("the first").is_some());
        // That cancels it.
        drop(endless);
        client.ready().await.expect("a connection");
        let mut never = hello();
        never.set_timeout(DEADLINE);
        let told: Answer = client.unary(never, path("/test.Shop/Never"), Plain).await;
        let code = told.expect_err("a deadline").code();
        assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
    }
}

#[test]
fn tonic_calls_tonic() {
    let sensor = Sensor::start();
    let runtime = runtime();
    let port = serve(&runtime);
    runtime.block_on(call_all(port, TIMES));
    expect_round(&sensor, port);
    expect_messages(&sensor, port);
}

#[test]
fn python_calls_tonic() {
    let sensor = Sensor::start();
    let runtime = runtime();
    let port = serve(&runtime);
    let directory = TempDir::new().expect("make a directory");
    let _ = Process::start(&mut grpc::client(By::Python, &directory, port, TIMES)).succeed(60);
    expect_round(&sensor, port);
    expect_messages(&sensor, port);
}

#[test]
fn tonic_calls_python() {
    let sensor = Sensor::start();
    let shop = grpc::Shop::start(By::Python);
    // It outlives the calls: the end of the last one is sent in the background.
    let runtime = runtime();
    runtime.block_on(call_all(shop.port, TIMES));
    expect_round(&sensor, shop.port);
    expect_messages(&sensor, shop.port);
}
