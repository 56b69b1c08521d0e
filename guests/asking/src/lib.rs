//! A stage that sends the HTTP requests of the sample's payload, one on each line as `SCHEME AUTHORITY PATH`, and returns the answers. For
//! tests of the host.

use hotshoe_sdk::prelude::*;

struct Asking;

impl Stage for Asking {
    fn process(sample: &Sample) -> Result<Insight> {
        let payload = sample.read();
        let text = String::from_utf8_lossy(&payload);
        let scalars = text.lines().map(|line| Scalar {
            name: get(line).unwrap_or_else(|error| format!("failed: {error}")),
            value: 1.0,
            unit: String::new(),
        });
        Ok(Insight::Scalars(scalars.collect()))
    }
}

#[cfg(not(target_os = "wasi"))]
fn get(_: &str) -> std::result::Result<String, String> {
    Err("there is no WASI".to_owned())
}

#[cfg(target_os = "wasi")]
fn get(line: &str) -> std::result::Result<String, String> {
    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
    use wasip2::io::streams::StreamError;

    let mut words = line.split(' ');
    let scheme = match words.next() {
        Some("https") => Scheme::Https,
        _ => Scheme::Http,
    };
    let request = OutgoingRequest::new(Fields::new());
    let built = request
        .set_scheme(Some(&scheme))
        .and_then(|()| request.set_authority(words.next()))
        .and_then(|()| request.set_path_with_query(words.next()));
    built.map_err(|()| "the request is not valid".to_owned())?;
    let future = handle(request, None).map_err(|error| error.to_string())?;
    future.subscribe().block();
    let response = match future.get() {
        Some(Ok(Ok(response))) => response,
        Some(Ok(Err(error))) => return Err(error.to_string()),
        Some(Err(())) | None => return Err("no answer".to_owned()),
    };
    let status = response.status();
    let body = response.consume().map_err(|()| "no body".to_owned())?;
    let stream = body.stream().map_err(|()| "no stream".to_owned())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(4096) {
            Ok(more) => bytes.extend(more),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(format!("{status} {}", String::from_utf8_lossy(&bytes)))
}

hotshoe_sdk::stage!(Asking);
