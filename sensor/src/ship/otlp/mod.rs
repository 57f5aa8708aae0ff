//! OTLP: traces over HTTP or gRPC.

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, TracesData};

/// The method of a gRPC request, as its path.
pub const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The path of an HTTP request.
pub const HTTP_PATH: &str = "/v1/traces";

/// A gRPC message of an already gzipped body: a flag, and the length in network order.
#[must_use]
pub fn grpc_frame(gzipped: &[u8]) -> Vec<u8> {
    let length = u32::try_from(gzipped.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(gzipped.len() + 5);
    frame.push(1);
    frame.extend(length.to_be_bytes());
    frame.extend_from_slice(gzipped);
    frame
}

/// How many spans a request holds.
#[must_use]
pub fn spans(data: &TracesData) -> usize {
    data.resource_spans.iter().flat_map(|resource| &resource.scope_spans).map(|scope| scope.spans.len()).sum()
}

/// Two requests with half of the spans each; `None` when there is one span or none.
#[must_use]
pub fn split(data: TracesData) -> Option<[TracesData; 2]> {
    let mut room = spans(&data) / 2;
    if room == 0 {
        return None;
    }
    let (mut first, mut second) = (TracesData::default(), TracesData::default());
    for resource in data.resource_spans {
        let part = |scope_spans| ResourceSpans {
            resource: resource.resource.clone(),
            schema_url: resource.schema_url.clone(),
            scope_spans,
        };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for mut scope in resource.scope_spans {
            let rest = scope.spans.split_off(room.min(scope.spans.len()));
            room -= scope.spans.len();
            if !rest.is_empty() {
                let (known, schema_url) = (scope.scope.clone(), scope.schema_url.clone());
                after.push(ScopeSpans { scope: known, spans: rest, schema_url });
            }
            if !scope.spans.is_empty() {
                before.push(scope);
            }
        }
        first.resource_spans.extend((!before.is_empty()).then(|| part(before)));
        second.resource_spans.extend((!after.is_empty()).then(|| part(after)));
    }
    Some([first, second])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::fixture::{exchange, observed};
    use crate::rpc::Names;
    use crate::trace::{Batch, WallClock, span};

    #[test]
    fn a_request_is_split_without_a_loss() {
        let mut batch = Batch::default();
        let mut add = |tgid: u32| {
            let mut exchange = exchange();
            exchange.task.tgid = tgid;
            let observed = observed(exchange);
            batch.push(&observed, span(&observed, WallClock::new(0), Names::Stable));
        };
        [1, 1, 1, 2, 2, 3].into_iter().for_each(&mut add);
        let whole = batch.take().unwrap();
        let ids = |data: &TracesData| -> Vec<Vec<u8>> {
            let scopes = data.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            scopes.flat_map(|scope| scope.spans.iter().map(|span| span.span_id.clone())).collect()
        };
        let [first, second] = split(whole.clone()).unwrap();
        assert_eq!((spans(&first), spans(&second)), (3, 3));
        assert_eq!([ids(&first), ids(&second)].concat(), ids(&whole));
        assert_eq!(second.resource_spans.len(), 2);
        let again = split(second).unwrap().map(|half| spans(&half));
        assert_eq!(again, [1, 2]);
        assert!(split(TracesData::default()).is_none());
    }

    #[test]
    fn a_frame_tells_its_length() {
        assert_eq!(grpc_frame(b"abc"), [1, 0, 0, 0, 3, b'a', b'b', b'c']);
    }
}
