//! What the end-to-end tests share: servers that count for themselves, clients, and a handle of the sensor.
//!
//! The whole host is captured, so a test looks only at series and spans of its own ports and paths. One sensor
//! runs at a time: a test that starts one waits until others have ended.
//!
//! Environment:
//! - `SENSOR_BIN`: the sensor's program, else the release build of the same target directory.
//! - `SENSOR_TEST_ROUTE`: `capture.route` of every sensor that a test starts.
//! - `SENSOR_TEST_SECONDS`: how long tests under load run, 60 by default.
//! - `SENSOR_TEST_REQUESTS`: how many requests each test of a chain of services makes, 500 by default.
//! - `SENSOR_TEST_PATIENCE`: a factor on all time limits, for slow machines.
//! - `NODE_PATH`: the packages of npm that programs of Node.js need, which `cargo xtask test` installs.
//! - `SENSOR_TEST_DEBIAN_11`, `SENSOR_TEST_NODE_16`, `SENSOR_TEST_DOTNET`: a directory with programs of Debian 11, the program of
//!   Node.js 16 and that of .NET 8, which `cargo xtask test` installs.
//! - `SENSOR_TEST_FIXTURES`: a directory made by the program `fixtures`, where there is no Java compiler.

pub mod api_server;
pub mod calls;
pub mod cards;
pub mod client;
pub mod cluster;
pub mod deploy;
pub mod dotnet;
pub mod fixtures;
pub mod flows;
pub mod front;
pub mod grpc;
pub mod http2;
pub mod https;
pub mod installed;
pub mod kills;
pub mod link;
pub mod logs;
pub mod loki;
pub mod metrics;
pub mod netns;
pub mod node;
pub mod parallel;
pub mod plaintext;
pub mod pods;
pub mod process;
pub mod prometheus;
pub mod receiver;
pub mod resolver;
pub mod sensor;
pub mod server;
pub mod spans;
pub mod wait;
