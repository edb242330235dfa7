//! gRPC as far as unary calls need it, with the faults of [`Server`](crate::server::Server).

use std::net::TcpStream;
use std::sync::Mutex;

use h2::server::SendResponse;
use h2::{Reason, RecvStream, server};
use ureq::http::{HeaderMap, HeaderValue, Request as HttpRequest, Response};

use crate::server::{Fault, Reply, Request, Service, State};

type Data = std::io::Cursor<Vec<u8>>;

pub fn serve<S: Service>(stream: &TcpStream, service: &Mutex<S>, state: &Mutex<State>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.set_nodelay(true).unwrap();
    let stream = stream.try_clone().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let Ok(mut connection) = server::Builder::new().handshake::<_, Data>(stream).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            let read = read(request);
            tokio::pin!(read);
            let request = loop {
                tokio::select! {
                    request = &mut read => break request,
                    // The connection moves only while it is asked for more.
                    more = connection.accept() => if more.is_none() { return },
                }
            };
            let Some(request) = request else { return };
            let fault = state.lock().unwrap().note(&request);
            let answer = || service.lock().unwrap().answer(&request);
            match fault {
                Some(Fault::Dropped) => return,
                Some(Fault::Lost) => {
                    answer();
                    return;
                }
                Some(Fault::CutOff) => send(respond, &answer(), true),
                Some(Fault::Instead(reply)) => send(respond, &reply, false),
                None => send(respond, &answer(), false),
            }
        }
    });
}

async fn read(request: HttpRequest<RecvStream>) -> Option<Request> {
    let (parts, mut body) = request.into_parts();
    let text = |value: &HeaderValue| value.to_str().unwrap().to_string();
    let headers =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_string(), text(value))).collect();
    let mut framed = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        framed.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let length = u32::from_be_bytes(framed[1..5].try_into().unwrap()) as usize;
    assert_eq!((framed[0], framed.len()), (0, length + 5));
    let (method, path) = (parts.method.to_string(), parts.uri.path().to_string());
    Some(Request { method, path, headers, body: framed.split_off(5) })
}

fn send(mut respond: SendResponse<Data>, reply: &Reply, is_cut_off: bool) {
    let head = Response::builder().header("content-type", "application/grpc");
    let status = HeaderValue::from(reply.status);
    if reply.status != 0 {
        let words = String::from_utf8(reply.body.clone()).unwrap().replace(' ', "%20");
        let head = head.header("grpc-status", status).header("grpc-message", words);
        let _ = respond.send_response(head.body(()).unwrap(), true);
        return;
    }
    let Ok(mut stream) = respond.send_response(head.body(()).unwrap(), false) else { return };
    let length = u32::try_from(reply.body.len()).unwrap();
    let mut framed = [&[0][..], &length.to_be_bytes(), &reply.body].concat();
    if is_cut_off {
        framed.truncate(5 + reply.body.len() / 2);
    }
    let _ = stream.send_data(Data::new(framed), false);
    if is_cut_off {
        stream.send_reset(Reason::INTERNAL_ERROR);
        return;
    }
    let _ = stream.send_trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), status)]));
}
