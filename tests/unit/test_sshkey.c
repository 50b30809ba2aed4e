/* Tests of base/sshkey.c: what ssh-keygen wrote, and keys that must not be taken. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/enc.h"
#include "base/fsutil.h"
#include "base/sshsig.h"

#define DIR "tests/vectors/ssh/"

static void read_line(const char *name, struct buf *line)
{
    char path[256];

    snprintf(path, sizeof path, DIR "%s.pub", name);
    assert_int_equal(file_read(path, line, NULL), 0);
    line->data[--line->len] = '\0';
}

static void drops_the_comment(void **state)
{
    static const char *const names[] = {"ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa3072"};
    char out[SSH_KEY_TEXT_MAX], again[SSH_KEY_TEXT_MAX];
    struct err e = {0};

    (void)state;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        BUF_AUTO line = BUF_INIT(4096);

        read_line(names[n], &line);
        assert_int_equal(ssh_key_normalise(buf_str(&line), out, sizeof out, &e), 0);
        assert_int_equal(strlen(out), strstr(buf_str(&line), " comment") - buf_str(&line));
        assert_memory_equal(out, line.data, strlen(out));
        assert_int_equal(ssh_key_normalise(out, again, sizeof again, &e), 0);
        assert_string_equal(out, again);
        assert_int_equal(ssh_key_normalise(out, again, strlen(out), &e), -1); /* no room for the NUL */
        assert_int_equal(ssh_key_normalise(out, again, strlen(out) + 1, &e), 0);
    }
}

/* fingerprints.txt is what ssh-keygen -l says. */
static void fingerprints(void **state)
{
    BUF_AUTO text = BUF_INIT(4096);
    unsigned seen = 0;

    (void)state;
    assert_int_equal(file_read(DIR "fingerprints.txt", &text, NULL), 0);
    for (char *line = (char *)text.data, *end; (end = strchr(line, '\n')); line = end + 1, seen++) {
        BUF_AUTO key = BUF_INIT(4096);
        char *space = strchr(line, ' '), out[64];

        *end = *space = '\0';
        read_line(line, &key);
        assert_int_equal(ssh_key_fingerprint(buf_str(&key), out, sizeof out, NULL), 0);
        assert_string_equal(out, space + 1);
        assert_int_equal(ssh_key_fingerprint(buf_str(&key), out, 50, NULL), -1);
    }
    assert_int_equal(seen, 7);
}

static void refuse(const char *line)
{
    char out[SSH_KEY_TEXT_MAX];
    struct err e = {0};

    assert_int_equal(ssh_key_normalise(line, out, sizeof out, &e), -1);
    assert_int_equal(e.code, ERR_BAD_REQUEST);
}

static void refuses_other_lines(void **state)
{
    BUF_AUTO ed = BUF_INIT(4096), ec = BUF_INIT(4096), weak = BUF_INIT(4096), bad = BUF_INIT(8192);

    (void)state;
    read_line("ed25519", &ed);
    read_line("ecdsa256", &ec);
    read_line("rsa1024", &weak);
    refuse("");
    refuse("ssh-ed25519");
    refuse("ssh-ed25519 ");
    refuse("ssh-ed25519 AAAA");
    refuse("ssh-dss AAAAB3NzaC1kc3MAAAABAQAAAAEBAAAAAQEAAAABAQ==");
    refuse(buf_str(&weak));
    buf_printf(&bad, "%s\n", buf_str(&ed));
    refuse(buf_str(&bad));
    buf_clear(&bad);
    buf_printf(&bad, "from=\"*\" %s", buf_str(&ed));
    refuse(buf_str(&bad));
    buf_clear(&bad);
    buf_printf(&bad, "ecdsa-sha2-nistp256 %s", strchr(buf_str(&ed), ' ') + 1); /* says one type outside and another inside */
    refuse(buf_str(&bad));
    buf_clear(&bad);
    buf_printf(&bad, "%.*s=", (int)(strstr(buf_str(&ed), " comment") - buf_str(&ed)), buf_str(&ed));
    refuse(buf_str(&bad));
}

static void put(struct buf *b, const void *data, size_t len)
{
    buf_u32(b, (uint32_t)len);
    buf_put(b, data, len);
}

static void refuse_blob(const char *type, const struct buf *blob)
{
    BUF_AUTO line = BUF_INIT(8192);

    buf_printf(&line, "%s ", type);
    b64_encode(&line, blob->data, blob->len);
    refuse(buf_str(&line));
}

/* An RSA key whose numbers are given byte by byte. */
static void refuse_rsa(const void *e, size_t e_len, const void *n, size_t n_len)
{
    BUF_AUTO blob = BUF_INIT(4096);

    put(&blob, "ssh-rsa", 7);
    put(&blob, e, e_len);
    put(&blob, n, n_len);
    refuse_blob("ssh-rsa", &blob);
}

static void refuses_crafted_keys(void **state)
{
    uint8_t n[258] = {0, 0x80}, point[65] = {4, 1, 2, 3};
    BUF_AUTO ec = BUF_INIT(512), tail = BUF_INIT(512), short_ed = BUF_INIT(512), line = BUF_INIT(8192);
    char out[SSH_KEY_TEXT_MAX];

    (void)state;
    n[256] = 1;
    refuse_rsa("\1", 1, n, 257);           /* everybody could sign */
    refuse_rsa("\2", 1, n, 257);
    refuse_rsa("", 0, n, 257);
    refuse_rsa("\0\1\0\1", 4, n, 257);     /* a byte that need not be there */
    refuse_rsa("\1\0\1", 3, n + 1, 256);   /* negative */
    refuse_rsa("\1\0\1", 3, n, 256);       /* 2040 bits */
    put(&ec, "ecdsa-sha2-nistp256", 19);
    put(&ec, "nistp256", 8);
    put(&ec, point, sizeof point);         /* not on the curve */
    refuse_blob("ecdsa-sha2-nistp256", &ec);
    put(&short_ed, "ssh-ed25519", 11);
    put(&short_ed, n, 31);
    refuse_blob("ssh-ed25519", &short_ed);
    put(&tail, "ssh-ed25519", 11);
    put(&tail, n, 32);
    buf_printf(&line, "ssh-ed25519 ");
    b64_encode(&line, tail.data, tail.len);
    assert_int_equal(ssh_key_normalise(buf_str(&line), out, sizeof out, NULL), 0);
    buf_putc(&tail, 0);
    refuse_blob("ssh-ed25519", &tail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drops_the_comment),
        cmocka_unit_test(fingerprints),
        cmocka_unit_test(refuses_other_lines),
        cmocka_unit_test(refuses_crafted_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
