//! Pure: what to do about a connection that a server or TLS refuses, told from the text of the error. The text is all that
//! the client library gives, and servers give no more either.

/// What an error contains, and what to do then.
const KNOWN: [(&str, &str); 9] = [
    (
        "authorization violation",
        "do the credentials in nats.client and nats.leaf fit the users of the server?",
    ),
    ("unknownissuer", UNTRUSTED),
    // Signed by another authority of the same name.
    ("badsignature", UNTRUSTED),
    ("not valid for name", "name the server in nats.servers and nats.leaf_servers as its certificate does"),
    (
        "alert: certificaterequired",
        "the server wants a certificate of ours; write nats.tls.cert_file and key_file",
    ),
    ("alert: unknownca", NOT_ACCEPTED),
    ("alert: badcertificate", NOT_ACCEPTED),
    (
        "invalidcontenttype",
        "no TLS is spoken there, or not at once: does the server have `tls`, and does tls:// or \
         nats.tls.handshake_first ask for it?",
    ),
    ("expected info, got nothing", SILENT),
];

const UNTRUSTED: &str = "name the authority of the server's certificate in nats.tls.ca_file";
const NOT_ACCEPTED: &str = "the server does not accept the certificate in nats.tls.cert_file";

/// About a server that closes a connection before it has said anything.
pub(super) const SILENT: &str = "a server that begins with TLS at once needs nats.tls.handshake_first";

/// The text, and what to do about it if that is known.
pub(super) fn advise(error: &str) -> String {
    let text = error.to_ascii_lowercase();
    match KNOWN.iter().find(|(part, _)| text.contains(part)) {
        Some((_, advice)) => format!("{error}; {advice}"),
        None => error.to_owned(),
    }
}
