// A self-signed certificate for receivers of tests that speak TLS, for localhost, shop.test and 127.0.0.1, until 2126. Its key is public
// by being here, and nothing trusts it but the test that says so. Made by: openssl req -x509 -newkey ec -pkeyopt
// ec_paramgen_curve:P-256 -nodes -days 36500 -subj "/CN=lapse test receiver" -addext "subjectAltName=DNS:localhost,DNS:shop.test,IP:127.0.0.1"

export const certificate = `-----BEGIN CERTIFICATE-----
MIIBuTCCAWCgAwIBAgIUeNDgiBCx0VyjFIXRvvvATZCNh7cwCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTbGFwc2UgdGVzdCByZWNlaXZlcjAgFw0yNjExMjEwODE5MTVa
GA8yMTI2MTAyODA4MTkxNVowHjEcMBoGA1UEAwwTbGFwc2UgdGVzdCByZWNlaXZl
cjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEcWxk/jsE5/nCchsNNxJi4AdCkz
QQSgDrnDGYr2JsLQKriDclsuRLWNCeTuNQ8khIZVU5lq25HW1fsChrus08OjejB4
MB0GA1UdDgQWBBTv9ArhU9a86dppK7C3kJz6B1KvTTAfBgNVHSMEGDAWgBTv9Arh
U9a86dppK7C3kJz6B1KvTTAPBgNVHRMBAf8EBTADAQH/MCUGA1UdEQQeMByCCWxv
Y2FsaG9zdIIJc2hvcC50ZXN0hwR/AAABMAoGCCqGSM49BAMCA0cAMEQCIBhpNSAe
8MtA+hAkhM93j5lORvmU3B3neQIeqlD7HBOgAiB/VT1RoUs4yC5fYjpOYl9aN27d
qO9lc0D71+HIuRPnrw==
-----END CERTIFICATE-----`;

export const certificateKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+mg1G4Nad4jknnqf
XBzXTpnFGVS+pYwnkfkpYhXtH4ahRANCAARHFsZP47BOf5wnIbDTcSYuAHQpM0EE
oA65wxmK9ibC0Cq4g3JbLkS1jQnk7jUPJISGVVOZatuR1tX7Aoa7rNPD
-----END PRIVATE KEY-----`;
