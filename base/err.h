/* The one table of errors: code, HTTP status, problem slug, title, and what a caller can do. */
#ifndef KMS_BASE_ERR_H
#define KMS_BASE_ERR_H

#include <stddef.h>

/* X(code, HTTP status, slug, title, cure). The slug is the stable part of urn:kmsd:problem:<slug> (RFC 9457). */
#define ERR_TABLE(X) \
    X(BAD_REQUEST,          400, "bad-request",          "The request is malformed",                          "Correct the request as the detail says.") \
    X(UNKNOWN_MEMBER,       400, "unknown-member",       "The request has a member this service does not know", "Remove or rename the member that the detail names.") \
    X(BAD_DIGEST,           400, "bad-digest",           "The digest is not usable",                          "Send the SHA-256 as 64 lower-case hexadecimal characters.") \
    X(BAD_VERSION,          400, "bad-version",          "The version does not parse",                        "Send a SemVer 2.0 version such as 1.4.0 or 2.0.0-rc.1.") \
    X(BAD_NAME,             400, "bad-name",             "A name does not fit its alphabet",                  "Use the alphabet that the detail gives.") \
    X(BAD_CERTIFICATE,      400, "bad-certificate",      "The certificate or signing request is not usable",  "Make a new one as the detail says.") \
    X(BAD_POLICY,           400, "bad-policy",           "The policy does not load",                          "Correct the file at the line that the detail names; kmsctl policy check FILE tells more.") \
    X(SIGNATURE_REQUIRED,   401, "signature-required",   "This change needs an SSH signature",                "Fetch a nonce, sign the request, and send Kms-Signature; kmsctl does all three.") \
    X(SIGNATURE_INVALID,    403, "signature-invalid",    "The SSH signature does not verify",                 "Sign exactly this request with an SSH key that belongs to your identity.") \
    X(NONCE_INVALID,        403, "nonce-invalid",        "The nonce is unknown, used or too old",             "Fetch a new nonce and sign again.") \
    X(FORBIDDEN,            403, "forbidden",            "The policy does not allow this",                    "Ask an administrator for a rule that allows it.") \
    X(NOT_FOUND,            404, "not-found",            "There is nothing of that name here",                "Check the name and the door you speak to.") \
    X(METHOD_NOT_ALLOWED,   405, "method-not-allowed",   "This resource does not have that method",           "Use a method that the API description gives for it.") \
    X(TIMEOUT,              408, "request-timeout",      "The request did not arrive in time",                "Send the whole request faster.") \
    X(ALREADY_EXISTS,       409, "already-exists",       "That name is taken",                                "Choose another name.") \
    X(VERSION_NOT_NEWER,    409, "version-not-newer",    "The channel already has a newer version",           "Sign a version newer than the one that the detail names.") \
    X(DIGEST_CONFLICT,      409, "digest-conflict",      "This name and version were signed with another digest", "Raise the version, or build the same bytes again.") \
    X(RELEASE_WITHDRAWN,    409, "release-withdrawn",    "This version was withdrawn",                        "Raise the version.") \
    X(KEY_NOT_ACTIVE,       409, "key-not-active",       "The key is not active",                             "Use another key, or ask an administrator.") \
    X(KEY_COMPROMISED,      409, "key-compromised",      "The key is compromised",                            "Use the key that replaces it.") \
    X(KEY_STATE,            409, "key-state",            "The key is not in a state that allows this",        "kmsctl key show NAME tells its state; the detail says what is possible.") \
    X(IDEMPOTENCY_CONFLICT, 409, "idempotency-conflict", "That Idempotency-Key was used with another request", "Use a new key for a new request.") \
    X(STEP_NOT_OPEN,        409, "step-not-open",        "That is no step of the clock that waits for a confirmation", "Confirm the step that the status names, if there is one.") \
    X(TOKEN_UNABLE,         409, "token-unable",         "The token makes no such keys",                      "Choose an algorithm and a scheme that the token has keys for.") \
    X(POLICY_LOCKOUT,       409, "policy-lockout",       "Under that policy nobody could change the policy",  "Give at least one enabled human the action policy.apply.") \
    X(LENGTH_REQUIRED,      411, "length-required",      "A body needs a Content-Length",                     "Send Content-Length; transfer codings are not accepted.") \
    X(TOO_LARGE,            413, "too-large",            "The request is too large",                          "Stay within the limit that the detail names.") \
    X(UNSUPPORTED_MEDIA,    415, "unsupported-media-type", "The body has a type this route does not take",    "Send the body in the form that the detail names.") \
    X(RATE_LIMITED,         429, "rate-limited",         "Too many requests",                                 "Wait as Retry-After says.") \
    X(HEADER_TOO_LARGE,     431, "header-too-large",     "The request head is too large",                     "Send fewer and shorter header fields.") \
    X(INTERNAL,             500, "internal",             "The service failed",                                "Report the request id to the operator.") \
    X(TOKEN_UNAVAILABLE,    503, "token-unavailable",    "The token does not answer",                         "Try again as Retry-After says, under the same Idempotency-Key.") \
    X(LOG_UNAVAILABLE,      503, "log-unavailable",      "The audit log cannot be written",                   "Try again as Retry-After says, under the same Idempotency-Key.") \
    X(BUSY,                 503, "busy",                 "The service is busy",                               "Try again as Retry-After says, under the same Idempotency-Key.")

enum err_code {
    ERR_NONE = 0,
#define X(code, status, slug, title, cure) ERR_##code,
    ERR_TABLE(X)
#undef X
    ERR_COUNT
};

/* Limits of the two texts; longer ones are cut. */
#define ERR_DETAIL_MAX 512
#define ERR_RULE_MAX 136

/* A failure on its way to the user. Zero-initialise; filled by whoever knows, returned as -1. */
struct err {
    enum err_code code;
    unsigned retry_after;          /* seconds, 0 = none */
    char detail[ERR_DETAIL_MAX];   /* one sentence: what was wrong and where */
    char rule[ERR_RULE_MAX];       /* policy rule that decided, "" = none */
};

/* Fills e (which may be NULL) and returns -1, so that `return err_set(e, ...)` reads well. Control bytes of the text become '?'. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* As err_set, with ": " and strerror(errnum) appended. */
int err_errno(struct err *e, enum err_code code, int errnum, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Puts "context: " before the detail; returns -1. */
int err_context(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

unsigned err_status(enum err_code code);    /* HTTP status; 200 for ERR_NONE */
const char *err_slug(enum err_code code);   /* "ok" for ERR_NONE */
const char *err_title(enum err_code code);
const char *err_cure(enum err_code code);

#endif
