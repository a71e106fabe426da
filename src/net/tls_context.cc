#include "net/tls_context.h"

#include <arpa/inet.h>

namespace gs {
namespace {

constexpr std::int64_t kSkewSeconds = 2 * 3600;

Result<SslCtxPtr> newContext() {
  SslCtxPtr ssl(SSL_CTX_new(TLS_method()));
  auto* c = ssl.get();
  // AES-128 first: the fastest with hardware support, and as strong as the P-256 keys.
  if (!ssl || SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384") != 1 ||
      SSL_CTX_set1_groups_list(c, "X25519:P-256") != 1) {
    return fail(ErrorCode::kInternal, "cannot make a TLS context: " + openSslReason());
  }
  // Every connection proves its certificate anew: a resumed one would carry an identity that may be revoked since.
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(c, 0);
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                          SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_read_ahead(c, 1);
  SSL_CTX_set_max_cert_list(c, 16 * 1024);
  SSL_CTX_set_verify_depth(c, 3);
  return ssl;
}

Status useIdentity(SSL_CTX* context, const std::string& chainPem, const SecretString& keyPem) {
  GS_TRY(const auto chain, readCertificates(chainPem));
  GS_TRY(const auto key, readPrivateKey(keyPem));
  bool good = SSL_CTX_use_certificate(context, chain.front().get()) == 1 &&
              SSL_CTX_use_PrivateKey(context, key.get()) == 1 && SSL_CTX_check_private_key(context) == 1;
  for (std::size_t i = 1; i < chain.size(); ++i) good = good && SSL_CTX_add1_chain_cert(context, chain[i].get()) == 1;
  if (!good) return fail(ErrorCode::kInvalidArgument, "certificate and private key cannot be used: " + openSslReason());
  return {};
}

Status addAuthorities(X509_STORE* store, const std::string& pem) {
  GS_TRY(const auto certificates, readCertificates(pem));
  for (const auto& certificate : certificates) {
    if (X509_STORE_add_cert(store, certificate.get()) != 1) {
      return fail(ErrorCode::kInvalidArgument, "a CA certificate cannot be used: " + openSslReason());
    }
  }
  return {};
}

// Two machines rarely agree about the time; hours of difference must not cut a host off.
int tolerateSkew(int ok, X509_STORE_CTX* context) {
  if (ok == 1) return 1;
  const int error = X509_STORE_CTX_get_error(context);
  auto* certificate = X509_STORE_CTX_get_current_cert(context);
  if (certificate == nullptr) return 0;
  auto late = static_cast<std::time_t>(std::time(nullptr) + kSkewSeconds);
  auto early = static_cast<std::time_t>(std::time(nullptr) - kSkewSeconds);
  const bool tolerable =
      (error == X509_V_ERR_CERT_NOT_YET_VALID && X509_cmp_time(X509_get0_notBefore(certificate), &late) < 0) ||
      (error == X509_V_ERR_CERT_HAS_EXPIRED && X509_cmp_time(X509_get0_notAfter(certificate), &early) > 0);
  if (!tolerable) return 0;
  X509_STORE_CTX_set_error(context, X509_V_OK);
  return 1;
}

Error refusal(int error, const std::string& host) {
  const std::string text = X509_verify_cert_error_string(error);
  switch (error) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return makeError(ErrorCode::kUnauthenticated, "the server's certificate is not for " + host)
          .withReason("tls_host_mismatch");
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return makeError(ErrorCode::kUnauthenticated, "the server's " + text)
          .withFix("compare the clocks of both machines; they differ by more than two hours, or the certificate is old")
          .withReason("tls_certificate_time");
    default:
      return makeError(ErrorCode::kUnauthenticated, "the server's certificate is not trusted: " + text)
          .withReason("tls_untrusted");
  }
}

Result<X509StorePtr> storeOfPinned(X509* leaf, STACK_OF(X509) * sent, const std::string& pin) {
  X509StorePtr store(X509_STORE_new());
  for (int i = 0; i < sk_X509_num(sent); ++i) {
    auto* candidate = sk_X509_value(sent, i);
    if (candidate == leaf || spkiSha256(candidate) != pin) continue;
    if (X509_STORE_add_cert(store.get(), candidate) != 1) break;
    return store;
  }
  (void)openSslReason();
  return fail(
      makeError(ErrorCode::kUnauthenticated, "the server does not have the certificate authority that the token names")
          .withFix("check the server's address; a token is only good for the server that made it")
          .withReason("tls_pin_mismatch"));
}

bool expectHost(X509_VERIFY_PARAM* parameters, const std::string& host) {
  unsigned char address[16];
  if (::inet_pton(AF_INET, host.c_str(), address) == 1) return X509_VERIFY_PARAM_set1_ip(parameters, address, 4) == 1;
  if (::inet_pton(AF_INET6, host.c_str(), address) == 1) return X509_VERIFY_PARAM_set1_ip(parameters, address, 16) == 1;
  X509_VERIFY_PARAM_set_hostflags(parameters,
                                  X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  return !host.empty() && X509_VERIFY_PARAM_set1_host(parameters, host.data(), host.size()) == 1;
}

// Judges the server's chain in place of OpenSSL's default, because a pinned CA is only known once the chain is here.
int verifyServer(X509_STORE_CTX* outer, void*) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(outer, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& expected = *static_cast<TlsExpectation*>(SSL_get_app_data(ssl));
  auto* leaf = X509_STORE_CTX_get0_cert(outer);
  auto* sent = X509_STORE_CTX_get0_untrusted(outer);
  X509StorePtr pinned;
  auto* store = expected.context->authorities.get();
  if (store == nullptr) {
    auto found = storeOfPinned(leaf, sent, expected.context->pin);
    if (!found) {
      expected.refused = std::move(found.error());
      X509_STORE_CTX_set_error(outer, X509_V_ERR_CERT_UNTRUSTED);
      return 0;
    }
    pinned = std::move(*found);
    store = pinned.get();
  }
  const X509StoreCtxPtr inner(X509_STORE_CTX_new());
  int error = X509_V_ERR_UNSPECIFIED;
  if (X509_STORE_CTX_init(inner.get(), store, leaf, sent) == 1 &&
      X509_STORE_CTX_set_default(inner.get(), "ssl_server") == 1 &&
      expectHost(X509_STORE_CTX_get0_param(inner.get()), expected.host)) {
    X509_STORE_CTX_set_verify_cb(inner.get(), tolerateSkew);
    error = X509_verify_cert(inner.get()) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(inner.get());
  }
  X509_STORE_CTX_set_error(outer, error);
  if (error == X509_V_OK) return 1;
  expected.refused = refusal(error, expected.host);
  return 0;
}

}  // namespace

Result<std::shared_ptr<TlsServerContext>> makeTlsServerContext(const TlsServerSettings& settings) {
  auto out = std::make_shared<TlsServerContext>();
  GS_TRY(out->ssl, newContext());
  auto* c = out->ssl.get();
  GS_CHECK(useIdentity(c, settings.certificateChainPem, settings.privateKeyPem));
  if (settings.clientCaPem.empty()) return out;
  GS_CHECK(addAuthorities(SSL_CTX_get_cert_store(c), settings.clientCaPem));
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER, nullptr);
  // An expired certificate is for the application to judge: it may still renew itself.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(c), X509_V_FLAG_NO_CHECK_TIME);
  return out;
}

Result<std::shared_ptr<TlsClientContext>> makeTlsClientContext(const TlsClientSettings& settings) {
  if (settings.caPem.empty() == settings.caSpkiSha256.empty()) {
    return fail(ErrorCode::kInvalidArgument, "exactly one of CA certificates and a CA pin must be given");
  }
  if (!settings.caSpkiSha256.empty() && settings.caSpkiSha256.size() != 32) {
    return fail(ErrorCode::kInvalidArgument, "a CA pin must have 32 bytes");
  }
  auto out = std::make_shared<TlsClientContext>();
  GS_TRY(out->ssl, newContext());
  out->pin = settings.caSpkiSha256;
  if (!settings.caPem.empty()) {
    out->authorities.reset(X509_STORE_new());
    GS_CHECK(addAuthorities(out->authorities.get(), settings.caPem));
  }
  if (!settings.certificatePem.empty())
    GS_CHECK(useIdentity(out->ssl.get(), settings.certificatePem, settings.privateKeyPem));
  SSL_CTX_set_verify(out->ssl.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(out->ssl.get(), verifyServer, nullptr);
  return out;
}

}  // namespace gs
