#!/usr/bin/env bash
# Certificates for mutual TLS, and the SSLConfig that holds them:
#   serving/deploy/certificates.sh FOLDER DNS:retriever.retriever,DNS:localhost,IP:127.0.0.1
# For trials and small installations. An authority of your own (cert-manager, Vault) replaces the first five commands.
set -euo pipefail
umask 077 # keys are for their owner only
if [ $# -ne 2 ]; then
  echo "usage: $0 FOLDER NAMES, the names that clients connect to, such as DNS:localhost,IP:127.0.0.1" >&2
  exit 2
fi
mkdir -p "$1"
cd "$1"
names=$2

# P-256: every TLS 1.2 and 1.3 peer takes it, and its handshakes cost a fraction of RSA's.
new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

sign() { # NAME EXTENSIONS: 90 days, for TF Serving reads the certificate at its start only, and rollouts are more frequent
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 90 -extfile <(printf '%b' "$2") -out "$1.crt"
}

openssl req -x509 "${new_key[@]}" -days 3650 -subj "/CN=retriever authority" -keyout ca.key -out ca.crt
openssl req -new "${new_key[@]}" -subj "/CN=retriever server" -keyout server.key -out server.csr
sign server "subjectAltName=$names\nextendedKeyUsage=serverAuth\n"
openssl req -new "${new_key[@]}" -subj "/CN=retriever client" -keyout client.key -out client.csr
sign client "extendedKeyUsage=clientAuth\n"

text() { sed 's/.*/  "&\\n"/' "$1"; } # a PEM file as the lines of a text-format string

{
  echo "# SSLConfig, for --ssl_config_file. It holds the texts, not paths: a secret."
  echo "# What the server proves its name with."
  echo "server_key:" && text server.key
  echo "server_cert:" && text server.crt
  echo "# Whose clients are let in: those with a certificate of this authority."
  echo "custom_ca:" && text ca.crt
  echo "# Mutual TLS. TF Serving has no other authentication."
  echo "client_verify: true"
} >ssl_config.pbtxt
rm -- *.csr *.srl
