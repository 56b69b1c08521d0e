use std::net::TcpListener;

/// A TCP port of loopback that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// The same, as a Zenoh endpoint.
pub fn free_endpoint() -> String {
    format!("tcp/127.0.0.1:{}", free_port())
}
