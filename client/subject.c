/* Looks at the subject of certificates and requests, for the warning about names in the log. */
#include "client/subject.h"

#include <openssl/x509.h>

bool subject_is_named(struct span der, bool is_csr)
{
    const unsigned char *p = der.data;
    X509_REQ *csr = is_csr ? d2i_X509_REQ(NULL, &p, (long)der.len) : NULL;
    X509 *cert = is_csr ? NULL : d2i_X509(NULL, &p, (long)der.len);
    const X509_NAME *subject = csr ? X509_REQ_get_subject_name(csr) : cert ? X509_get_subject_name(cert) : NULL;
    bool named = subject && X509_NAME_entry_count(subject) > 0;

    X509_REQ_free(csr);
    X509_free(cert);
    return named;
}
