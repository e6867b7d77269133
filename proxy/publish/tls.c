#include "proxy/publish/tls.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "lib/addr.h"
#include "lib/text.h"

struct tls_context {
	SSL_CTX *ssl;
};

struct tls {
	SSL *ssl;
	X509 *unverified; /* the certificate that was not accepted */
	bool wants_write, broken;
	char name[256];
};

/* --- what a context is made of --- */

static const char *tls_why(void)
{
	unsigned long code = ERR_peek_last_error();
	const char *why = ERR_reason_error_string(code);

	return why != NULL ? why : "unknown";
}

static BIO *tls_text(const char *pem)
{
	return BIO_new_mem_buf(pem, -1);
}

static int tls_add_authorities(SSL_CTX *ssl, const char *ca, struct text *error)
{
	BIO *bio = tls_text(ca);
	X509 *certificate;
	int count = 0;

	if (bio == NULL)
		return -ENOMEM;
	while ((certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL) {
		count += X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), certificate);
		X509_free(certificate);
	}
	BIO_free(bio);
	ERR_clear_error(); /* that there is no further one */
	if (count > 0)
		return 0;
	text_string(error, "the CA bundle holds no certificate that can be read");
	return -EINVAL;
}

/* The first is ours, others lead to an authority. */
static int tls_use_certificate(SSL_CTX *ssl, const char *pem, struct text *error)
{
	BIO *bio = tls_text(pem);
	X509 *certificate = bio != NULL ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
	bool used = certificate != NULL && SSL_CTX_use_certificate(ssl, certificate) == 1;

	if (!used)
		text_printf(error, "the client certificate cannot be read (%s)", tls_why());
	X509_free(certificate);
	while (used && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		if (SSL_CTX_add0_chain_cert(ssl, certificate) != 1)
			X509_free(certificate);
	}
	BIO_free(bio);
	ERR_clear_error();
	return used ? 0 : -EINVAL;
}

static int tls_no_password(char *to, int size, int writing, void *unused)
{
	(void)to, (void)size, (void)writing, (void)unused;
	return 0;
}

static int tls_use_key(SSL_CTX *ssl, const char *pem, struct text *error)
{
	BIO *bio = tls_text(pem);
	EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, tls_no_password, NULL) : NULL;
	bool used = key != NULL && SSL_CTX_use_PrivateKey(ssl, key) == 1 && SSL_CTX_check_private_key(ssl) == 1;

	if (!used)
		text_printf(error, key == NULL ? "the client key cannot be read, or has a password (%s)" :
		                                 "the client key does not belong to the client certificate (%s)", tls_why());
	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	return used ? 0 : -EINVAL;
}

/* A certificate that is not accepted is kept, to say what is wrong with it; the first one is what ends the handshake. */
static int tls_on_verify(int accepted, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *tls = SSL_get_app_data(ssl);
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);

	if (!accepted && tls->unverified == NULL && certificate != NULL && X509_up_ref(certificate) == 1)
		tls->unverified = certificate;
	return accepted;
}

int tls_context_new(struct tls_context **out, const char *ca, const char *certificate, const char *key, bool verify, struct text *error)
{
	struct tls_context *context = calloc(1, sizeof *context);
	int result = 0;

	if (context == NULL || (context->ssl = SSL_CTX_new(TLS_client_method())) == NULL) {
		free(context);
		return -ENOMEM;
	}
	SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION);
	SSL_CTX_set_options(context->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(context->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(context->ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, verify ? tls_on_verify : NULL);
	if (verify && ca != NULL)
		result = tls_add_authorities(context->ssl, ca, error);
	else if (verify)
		SSL_CTX_set_default_verify_paths(context->ssl);
	if (result == 0 && certificate != NULL)
		result = tls_use_certificate(context->ssl, certificate, error);
	if (result == 0 && certificate != NULL && key != NULL)
		result = tls_use_key(context->ssl, key, error);
	if (result != 0)
		tls_context_free(context);
	else
		*out = context;
	return result;
}

void tls_context_free(struct tls_context *context)
{
	if (context == NULL)
		return;
	SSL_CTX_free(context->ssl);
	free(context);
}

/* --- connections --- */

int tls_new(struct tls **out, const struct tls_context *context, int fd, const char *name)
{
	struct tls *tls = calloc(1, sizeof *tls);
	struct addr addr;
	bool ready;

	if (tls == NULL || (tls->ssl = SSL_new(context->ssl)) == NULL || SSL_set_fd(tls->ssl, fd) != 1) {
		tls_free(tls);
		return -ENOMEM;
	}
	SSL_set_app_data(tls->ssl, tls);
	strncpy(tls->name, name, sizeof tls->name - 1);
	if (addr_parse_host(name, &addr) == 0) {
		ready = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), name) == 1;
	} else {
		SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
		ready = SSL_set1_host(tls->ssl, name) == 1 && SSL_set_tlsext_host_name(tls->ssl, name) == 1;
	}
	if (!ready) {
		tls_free(tls);
		return -ENOMEM;
	}
	SSL_set_connect_state(tls->ssl);
	*out = tls;
	return 0;
}

void tls_free(struct tls *tls)
{
	if (tls == NULL)
		return;
	if (tls->ssl != NULL && !tls->broken && SSL_is_init_finished(tls->ssl))
		SSL_shutdown(tls->ssl);
	SSL_free(tls->ssl);
	X509_free(tls->unverified);
	ERR_clear_error();
	free(tls);
}

/* The first names that the certificate is for. */
static void tls_name_subjects(const struct tls *tls, struct text *out)
{
	enum { NAMES_MOST = 4 };
	GENERAL_NAMES *names = tls->unverified != NULL ? X509_get_ext_d2i(tls->unverified, NID_subject_alt_name, NULL, NULL) : NULL;
	int count = names != NULL ? sk_GENERAL_NAME_num(names) : 0, said = 0;

	for (int i = 0; i < count && said < NAMES_MOST; i++) {
		int type;
		ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
		char text[ADDR_TEXT_SIZE];
		struct addr addr = {.family = ASN1_STRING_length(value) == 4 ? AF_INET : AF_INET6};

		if (type == GEN_DNS) {
			text_printf(out, "%s%.*s", said++ > 0 ? ", " : "", ASN1_STRING_length(value), ASN1_STRING_get0_data(value));
		} else if (type == GEN_IPADD && (ASN1_STRING_length(value) == 4 || ASN1_STRING_length(value) == 16)) {
			memcpy(addr.bytes, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
			text_printf(out, "%s%s", said++ > 0 ? ", " : "", addr_format_host(&addr, text));
		}
	}
	if (said == 0)
		text_string(out, "no name");
	else if (said < count)
		text_string(out, ", …");
	GENERAL_NAMES_free(names);
}

/* When it ended, or will begin. */
static void tls_name_instant(const struct tls *tls, bool end, struct text *out)
{
	X509 *certificate = tls->unverified;
	BIO *bio = BIO_new(BIO_s_mem());
	char *bytes = NULL;

	if (certificate != NULL && bio != NULL &&
	    ASN1_TIME_print(bio, end ? X509_get0_notAfter(certificate) : X509_get0_notBefore(certificate)) == 1) {
		long length = BIO_get_mem_data(bio, &bytes);
		text_printf(out, " (%s %.*s)", end ? "it ended" : "it begins", (int)length, bytes);
	}
	BIO_free(bio);
}

static void tls_say_unverified(const struct tls *tls, long verdict, struct text *error)
{
	switch (verdict) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		text_string(error, "the API server's certificate has expired");
		tls_name_instant(tls, true, error);
		return;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		text_string(error, "the API server's certificate is not yet valid");
		tls_name_instant(tls, false, error);
		return;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		text_printf(error, "the API server's certificate is not for %s, but for ", tls->name);
		tls_name_subjects(tls, error);
		return;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		text_printf(error, "the API server's certificate is by an authority that the CA bundle does not hold (%s)",
		            X509_verify_cert_error_string(verdict));
		return;
	default:
		text_printf(error, "the API server's certificate was not accepted (%s)", X509_verify_cert_error_string(verdict));
	}
}

static void tls_say(const struct tls *tls, struct text *error)
{
	unsigned long code = ERR_peek_error();
	int reason = ERR_GET_REASON(code);
	long verdict = SSL_get_verify_result(tls->ssl);

	if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		tls_say_unverified(tls, verdict, error);
	} else if (ERR_GET_LIB(code) == ERR_LIB_SSL && (reason == SSL_R_UNSUPPORTED_PROTOCOL || reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION)) {
		text_printf(error, "the API server speaks no TLS of 1.2 or later (%s)", ERR_reason_error_string(code));
	} else if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET) {
		text_printf(error, "the API server refused the TLS connection (%s)", ERR_reason_error_string(code));
	} else if (ERR_GET_LIB(code) == ERR_LIB_SSL && !SSL_is_init_finished(tls->ssl)) {
		text_printf(error, "what answers does not speak TLS (%s)", ERR_reason_error_string(code));
	} else if (code != 0) {
		const char *why = ERR_reason_error_string(code);
		text_printf(error, "TLS failed (%s)", why != NULL ? why : strerror(reason));
	} else if (!SSL_is_init_finished(tls->ssl)) {
		text_string(error, "the connection was closed in the middle of the TLS handshake");
	} else {
		text_string(error, "the connection was closed");
	}
}

/* What became of a call that returned `result` <= 0; *ended: the peer has nothing more to say. */
static int tls_judge(struct tls *tls, int result, bool *ended, struct text *error)
{
	int saved = errno, kind = SSL_get_error(tls->ssl, result);

	tls->wants_write = kind == SSL_ERROR_WANT_WRITE;
	if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	*ended = kind == SSL_ERROR_ZERO_RETURN;
	if (*ended)
		return 0;
	tls->broken = true;
	if (kind == SSL_ERROR_SYSCALL && ERR_peek_error() == 0 && saved != 0)
		text_printf(error, "%s", strerror(saved));
	else
		tls_say(tls, error);
	ERR_clear_error();
	return -EPROTO;
}

int tls_handshake(struct tls *tls, struct text *error)
{
	bool ended = false;

	ERR_clear_error();
	errno = 0;
	int done = SSL_do_handshake(tls->ssl);
	if (done == 1)
		return 0;
	int result = tls_judge(tls, done, &ended, error);
	if (result != 0)
		return result;
	tls->broken = true;
	text_string(error, "the connection was closed in the middle of the TLS handshake");
	return -EPROTO;
}

ssize_t tls_read(struct tls *tls, void *bytes, size_t size, struct text *error)
{
	bool ended = false;

	ERR_clear_error();
	errno = 0;
	int count = SSL_read(tls->ssl, bytes, size < INT_MAX ? (int)size : INT_MAX);
	return count > 0 ? count : tls_judge(tls, count, &ended, error);
}

ssize_t tls_write(struct tls *tls, const void *bytes, size_t length, struct text *error)
{
	bool ended = false;

	ERR_clear_error();
	errno = 0;
	int count = SSL_write(tls->ssl, bytes, length < INT_MAX ? (int)length : INT_MAX);
	if (count > 0)
		return count;
	int result = tls_judge(tls, count, &ended, error);
	if (result != 0)
		return result;
	text_string(error, "the connection was closed");
	return -EPROTO;
}

bool tls_wants_write(const struct tls *tls)
{
	return tls->wants_write;
}

bool tls_pending(const struct tls *tls)
{
	return SSL_pending(tls->ssl) > 0;
}

void tls_library(struct text *out)
{
	text_string(out, OpenSSL_version(OPENSSL_VERSION));
}
